"""The deny and the permit list: files, single entries, hits, expiry, revisions."""

import json
import re

import pytest

from lib import Postern, run_postern

LISTS = "/api/v1/connections/lists/"
EXAMPLE = """192.168.1.1
192.168.2.0:255.255.255.0
192.168.3.1:255.255.255.128
192.168.4.100
192.168.5.32:255.255.255.192
2001:db8:10ff::ae:44f2
2001:db8::/32
"""


@pytest.fixture
def gateway():
    with Postern() as gateway:
        yield gateway


def send_file(gateway, text, which="deny", query="", headers=None):
    return gateway.api(
        "POST", LISTS + which + query, text, headers={"Content-Type": "text/plain", **(headers or {})}
    )


def exported(gateway, which="deny"):
    return gateway.cli("access", "export", "--list", which)


def revision(gateway):
    status, page = gateway.api("GET", "/api/v1/settings/revisions")
    assert status == 200
    return page["total"]


def networks(gateway, which="deny", query=""):
    status, page = gateway.api("GET", LISTS + which + query)
    assert status == 200, page
    return [item["network"] for item in page["items"]]


def written(gateway, text):
    path = gateway.folder / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---- files ----


@pytest.mark.asan
def test_the_example_is_seven_entries_two_normalised_one_covered(gateway):
    text = gateway.cli("access", "import", written(gateway, EXAMPLE), "--list", "deny")
    assert text.startswith("added 7, duplicate 0, normalised 2, covered 1, contradicted 0\n"), text
    assert "line 3: 192.168.3.1:255.255.255.128: becomes 192.168.3.0/25" in text
    assert "line 6: 2001:db8:10ff::ae:44f2: is covered by a wider entry" in text
    assert networks(gateway) == [
        "192.168.1.1",
        "192.168.2.0:255.255.255.0",
        "192.168.3.0/25",
        "192.168.4.100",
        "192.168.5.0/26",
        "2001:db8:10ff::ae:44f2",
        "2001:db8::/32",
    ]
    again = gateway.json("access", "import", str(written(gateway, EXAMPLE)), "--list", "deny")
    assert (again["added"], again["duplicate"], again["total"]) == (0, 7, 7)
    assert again["revision"] == revision(gateway)  # none was made
    other = gateway.json("access", "import", str(written(gateway, EXAMPLE)), "--list", "permit")
    assert (other["added"], other["contradicted"]) == (7, 7)


@pytest.mark.asan
def test_what_is_exported_imports_to_the_same(gateway):
    gateway.cli("access", "import", written(gateway, EXAMPLE + "10.0.0.1 # why # it\n"), "--list", "deny")
    gateway.cli("access", "add", "10.0.0.2", "--list", "deny", "--expires", "2035-01-31T18:00:00Z")
    gateway.cli("access", "add", "10.0.0.3", "--list", "deny", "--expires", "7d", "--comment", "é")
    text = exported(gateway)
    assert "10.0.0.2  # [expires 2035-01-31T18:00:00Z]\n" in text
    report = gateway.json("access", "import", str(written(gateway, text)), "--list", "permit")
    assert (report["added"], report["normalised"], report["error_count"]) == (10, 0, 0)
    assert exported(gateway, "permit") == text
    entries = gateway.json("access", "export", "--list", "deny")
    status, document = gateway.api("GET", "/api/v1/settings")
    assert status == 200 and document["connections"]["control"]["deny_list"] == entries


def test_bom_crlf_space_and_comments_are_allowed(gateway):
    text = b"\xef\xbb\xbf# a list\r\n\r\n  192.0.2.1\t\r\n192.0.2.2#x\r\n"
    gateway.cli("access", "import", written(gateway, text), "--list", "deny")
    assert networks(gateway) == ["192.0.2.1", "192.0.2.2"]


WRONG = [
    b"192.168.1.1:25",
    b"10.0.0.0:255.0.255.0",
    b"300.1.1.1",
    b"192.168.001.1",
    b"2001:db8::/129",
    b"2001:db8::1:255.255.255.0",
    b"fe80::1%eth0",
    b"mail.example.com",
    b"10.0.0.1-10.0.0.9",
    b"192.168.1.1192.168.2.0:255.255.255.0",
    b"10.0.0.0/33",
    b"10.0.0.0/",
    b"10.0.0.1 10.0.0.2",
    b"10.0.0.1 # \xff",
    b"10.0.0.1\0",
    b"10.0.0.1\r10.0.0.2",
    b"10.0.0.1 # [expires tomorrow]",
    b"10.0.0.1 # [expires 2030-01-31T18:00:00Z",
    b"10.0.0.1 # " + b"x" * 501,
    b"1" * 100000,
    b"\xef\xbb\xbf10.0.0.1",
    b"\xff\xfe1\x000\x00",
]


@pytest.mark.asan
def test_every_wrong_line_is_named_and_nothing_changes(gateway):
    before = revision(gateway)
    for line in WRONG:
        status, answer = send_file(gateway, b"192.0.2.1\n" + line + b"\n192.0.2.2\n")
        assert status == 422, (line, answer)
        (error,) = answer["errors"]
        assert error["line"] == 2 and error["pointer"] == "/1", (line, error)
        assert error["reason"] and "line 2" in error["detail"] and "line 2" in answer["detail"]
        said = gateway.cli(
            "access", "import", written(gateway, b"\n" + line), "--list", "deny", status=1
        )
        assert re.match(r"postern: \S+, line 2: ", said) and said.count("\n") == 1, said
        assert all(c.isprintable() or c == "\n" for c in said), said
    status, answer = send_file(gateway, b"192.0.2.1\n" + b"\n".join(WRONG))
    assert status == 422
    assert [e["line"] for e in answer["errors"]] == [n + 2 for n in range(len(WRONG))]
    assert revision(gateway) == before and networks(gateway) == []


def test_valid_only_leaves_wrong_lines_out(gateway):
    run = run_postern(
        "access", "import", "-", "--list", "deny", "--valid-only",
        state=gateway.state, stdin="192.0.2.1\nnonsense\n192.0.2.2\n",
    )
    assert run.stdout.startswith("added 2,") and "line 2: nonsense: " in run.stderr
    assert networks(gateway) == ["192.0.2.1", "192.0.2.2"]


def test_a_dry_run_changes_nothing_and_replace_replaces(gateway):
    send_file(gateway, "192.0.2.1\n")
    before = revision(gateway)
    said = gateway.cli(
        "access", "import", written(gateway, "10.0.0.1\n"), "--list", "deny", "--replace", "--dry-run"
    )
    assert "added 1" in said and "nothing was changed" in said
    assert networks(gateway) == ["192.0.2.1"] and revision(gateway) == before
    gateway.cli("access", "import", written(gateway, "10.0.0.1\n"), "--list", "deny", "--replace")
    assert networks(gateway) == ["10.0.0.1"]


@pytest.mark.asan
def test_bodies_that_are_no_list(gateway):
    status, answer = gateway.api("POST", LISTS + "deny", {"add": []})
    assert status == 415 and "text/plain" in answer["detail"]
    status, answer = send_file(gateway, "10.0.0.1\n", query="?confirm=everything")
    assert status == 400
    status, answer = send_file(gateway, "10.0.0.1\n", query="?replce=true")
    assert status == 400
    for which in ("allow", "deny/", ""):
        assert gateway.api("GET", LISTS + which)[0] == 404
    assert gateway.api("DELETE", LISTS + "deny")[0] == 405
    assert networks(gateway) == []


def test_a_file_that_is_too_large_is_413(gateway):
    status, answer = gateway.api(
        "POST",
        LISTS + "deny",
        None,
        headers={"Content-Type": "text/plain", "Content-Length": str((64 << 20) + 1)},
    )
    assert status == 413 and answer["status"] == 413
    path = gateway.folder / "large.txt"
    with path.open("wb") as f:
        f.truncate((64 << 20) + 1)
    said = gateway.cli("access", "import", path, "--list", "deny", status=1)
    assert "larger than 64 MiB" in said and said.count("\n") == 1


# ---- single entries ----


@pytest.mark.asan
def test_single_entries_come_and_go(gateway):
    gateway.cli("access", "add", "192.0.2.1", "2001:db8::/32", "--list", "deny")
    gateway.cli("access", "add", "192.0.2.1", "--list", "deny", "--comment", "spam")
    status, page = gateway.api("GET", LISTS + "deny")
    assert page["total"] == 2 and page["next"] is None
    assert page["items"][0] == {
        "network": "192.0.2.1", "comment": "spam", "expires": None, "expired": False,
        "hits": 0, "last_hit": None,
    }
    assert "(spam)" in gateway.cli("access", "test", "192.0.2.1")
    gateway.cli("access", "remove", "192.0.2.1", "--list", "deny")
    assert networks(gateway) == ["2001:db8::/32"]
    said = gateway.cli("access", "remove", "192.0.2.1", "--list", "deny", status=1)
    assert said == "postern: 192.0.2.1 is no entry of the deny list\n"
    history = gateway.cli("settings", "history")
    assert "deny list: 192.0.2.1 removed" in history


@pytest.mark.parametrize(
    "body, pointer",
    [
        ({"add": "192.0.2.1"}, "/add"),
        ({"add": ["192.0.2.1", 7]}, "/add/1"),
        ({"add": ["192.0.2.1", "x"]}, "/add/1"),
        ({"add": [{"comment": "x"}]}, "/add/0/network"),
        ({"add": [{"network": "10.0.0.1", "expires": "soon"}]}, "/add/0/expires"),
        ({"add": [{"network": "10.0.0.1", "why": "x"}]}, "/add/0/why"),
        ({"add": [{"network": "10.0.0.1", "comment": "a\nb"}]}, "/add/0/comment"),
        ({"remove": ["10.0.0.1"]}, "/remove/0"),
        ({"remove": ["10.0.0.0/40"]}, "/remove/0"),
        ({"ad": ["10.0.0.1"]}, "/ad"),
        ({"add": [], "confirm": "yes"}, "/confirm"),
        ({"add": [], "confirm": ["open_relay"]}, "/confirm/0"),
    ],
)
def test_wrong_entries_are_named_and_nothing_changes(gateway, body, pointer):
    before = revision(gateway)
    status, answer = gateway.api("PATCH", LISTS + "deny", body)
    assert status == 422, answer
    assert answer["errors"][0]["pointer"] == pointer, answer
    assert revision(gateway) == before and networks(gateway) == []


def test_if_match_keeps_administrators_apart(gateway):
    old = revision(gateway)
    gateway.cli("access", "add", "192.0.2.1", "--list", "deny")
    for send in (
        lambda tag: gateway.api(
            "PATCH", LISTS + "deny", {"add": ["192.0.2.2"]}, headers={"If-Match": f'"{tag}"'}
        ),
        lambda tag: send_file(gateway, "192.0.2.3\n", headers={"If-Match": f'"{tag}"'}),
    ):
        assert send(old)[0] == 412
        status, answer = send(revision(gateway))
        assert status == 200, answer
    assert networks(gateway) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_pages_and_search(gateway):
    send_file(gateway, "".join(f"10.0.{n >> 8}.{n & 255} # number {n}\n" for n in range(700)))
    found, path = [], LISTS + "deny?limit=300"
    while path:
        status, page = gateway.api("GET", path)
        assert status == 200 and page["total"] == 700
        found += page["items"]
        path = page["next"] and f"{LISTS}deny?limit=300&cursor={page['next']}"
    assert [item["comment"] for item in found] == [f"number {n}" for n in range(700)]
    assert networks(gateway, query="?q=10.0.1.7") == ["10.0.1.7"]
    assert networks(gateway, query="?q=10.0.2.0/28") == [f"10.0.2.{n}" for n in range(16)]
    assert networks(gateway, query="?q=NUMBER+69&limit=1000") == ["10.0.0.69"] + [
        f"10.0.2.{n}" for n in range(690 - 512, 700 - 512)
    ]
    for query in ("?limit=0", "?limit=1001", "?cursor=x"):
        assert gateway.api("GET", LISTS + "deny" + query)[0] == 400


def test_an_empty_permit_list_must_be_confirmed(gateway):
    gateway.cli("access", "add", "127.0.0.1", "--list", "permit")
    status, answer = gateway.api(
        "PATCH", "/api/v1/settings", {"connections": {"control": {"mode": "deny_all_except"}}}
    )
    assert status == 200, answer
    said = gateway.cli("access", "remove", "127.0.0.1", "--list", "permit", status=1)
    assert "empty_permit_list" in said and said.count("\n") == 1
    assert "is let in" in gateway.cli("access", "test", "127.0.0.1")
    empty = written(gateway, "# nobody\n")
    gateway.cli("access", "import", empty, "--list", "permit", "--replace", status=1)
    gateway.cli("access", "remove", "127.0.0.1", "--list", "permit", "--yes")
    assert "is refused" in gateway.cli("access", "test", "127.0.0.1")


# ---- in force ----


def hits(gateway, which, network):
    status, page = gateway.api("GET", f"{LISTS}{which}?q={network}")
    assert status == 200
    return {item["network"]: item["hits"] for item in page["items"]}


@pytest.mark.asan
def test_hits_outlive_changes_that_leave_the_entry(gateway):
    send_file(gateway, "127.0.0.2\n127.0.0.0/29\n127.0.0.4\n")
    for source in ("127.0.0.2", "127.0.0.2", "127.0.0.3"):
        with gateway.client(source=source, greeting=554):
            pass
    assert hits(gateway, "deny", "127.0.0.2") == {"127.0.0.2": 2, "127.0.0.0/29": 1}
    gateway.cli("access", "remove", "127.0.0.4", "--list", "deny")
    gateway.cli("access", "add", "127.0.0.2", "--list", "deny", "--comment", "again")
    with gateway.client(source="127.0.0.2", greeting=554):
        pass
    assert hits(gateway, "deny", "127.0.0.2") == {"127.0.0.2": 3, "127.0.0.0/29": 1}
    status, page = gateway.api("GET", LISTS + "deny?q=again")
    assert re.match(r"20\d\d-\d\d-\d\dT", page["items"][0]["last_hit"])
    table = gateway.cli("access", "list", "--list", "deny")
    assert re.search(r"^127\.0\.0\.2 +3  20", table, re.M), table


def test_an_expired_entry_gives_way_to_a_wider_one(gateway):
    send_file(
        gateway,
        "127.0.0.2 # [expires 2020-01-01T00:00:00Z]\n"
        "127.0.0.0/30 # wide\n127.0.0.8 # [expires 2020-01-01T00:00:00Z]\n",
    )
    assert "entry 127.0.0.0/30" in gateway.cli("access", "test", "127.0.0.2")
    assert "is let in" in gateway.cli("access", "test", "127.0.0.8")
    with gateway.client(source="127.0.0.2", greeting=554):
        pass
    with gateway.client(source="127.0.0.8"):
        pass
    gateway.cli("access", "add", "127.0.0.8", "--list", "deny")  # once more, for good
    with gateway.client(source="127.0.0.8", greeting=554):
        pass


def test_a_live_session_that_is_refused_now_is_told_at_its_next_command(gateway):
    with gateway.client(source="127.0.0.5") as client:
        client.hello()
        gateway.cli("access", "add", "127.0.0.5", "--list", "deny")
        client.says("NOOP").expect(421, "4.7.0")
        client.expect_closed()


def test_long_lists_live_in_revisions_restarts_and_rollbacks():
    long = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(3000)]
    with Postern() as gateway:
        send_file(gateway, "\n".join(long))
        first = revision(gateway)
        gateway.cli("access", "remove", long[0], "--list", "deny")
        status, answer = gateway.api(
            "PATCH", "/api/v1/settings", {"message_rules": {"max_recipients": 77}}
        )
        assert status == 200, answer
        gateway.restart()
        assert networks(gateway, query="?limit=1000") == long[1:1001]
        document = gateway.json("settings", "show")
        assert document["connections"]["control"]["deny_list"] == long[1:]
        assert document["message_rules"]["max_recipients"] == 77
        status, row = gateway.api("GET", f"/api/v1/settings/revisions/{first}")
        assert row["document"]["connections"]["control"]["deny_list"] == long
        changes = gateway.json("settings", "diff", str(first), str(first + 1))
        assert [change.get("removed") for change in changes] == [[long[0]]]
        # Export and apply are inverse, by name and by content.
        path = written(gateway, gateway.cli("settings", "export"))
        gateway.cli("settings", "apply", path)
        assert gateway.json("settings", "show") == document
        assert gateway.stop() == 0
        offline = json.loads(
            run_postern("settings", "show", "--json", state=gateway.state).stdout
        )
        assert offline == document
        run_postern("settings", "rollback", str(first), state=gateway.state)
        gateway.start(apply=False)
        assert networks(gateway, query="?limit=1000") == long[:1000]
        assert "entry 10.0.0.0/24" in gateway.cli("access", "test", "10.0.0.7")


def test_a_flood_of_refusals_is_counted_and_not_told_one_by_one(gateway):
    send_file(gateway, "127.0.0.2\n")
    for _ in range(400):
        with gateway.client(source="127.0.0.2", greeting=554):
            pass
    assert hits(gateway, "deny", "127.0.0.2") == {"127.0.0.2": 400}

    def told():
        lines = [json.loads(line) for line in gateway.log_octets().decode().splitlines() if line[:1] == "{"]
        single = sum(line["event"] == "refused" for line in lines)
        return single + sum(line["count"] for line in lines if line["event"] == "refused_more") == 400

    gateway.wait_until(told, "all refusals are told")


# ---- lists within a patch of the settings ----


def patch_settings(gateway, control, query="", **more):
    body = {"connections": {"control": control, **more.pop("connections", {})}, **more}
    return gateway.api("PATCH", "/api/v1/settings" + query, body)


def networks(gateway, which="deny", query=""):
    status, page = gateway.api("GET", LISTS + which + query)
    assert status == 200, page
    return [item["network"] for item in page["items"]]


def test_a_patch_changes_lists_and_all_else_in_one_revision(gateway):
    before = revision(gateway)
    status, answer = patch_settings(
        gateway,
        {
            "mode": "deny_all_except",
            "permit_list": {"add": ["127.0.0.1"]},
            "deny_list": {"file": {"text": EXAMPLE}, "add": [{"network": "10.0.0.1", "comment": "x"}]},
        },
        connections={"interface": {"idle_timeout_minutes": 9}},
    )
    assert status == 200, answer
    assert answer["lists"]["deny"]["added"] == 8 and answer["lists"]["deny"]["normalised"] == 2
    assert answer["lists"]["permit"]["total"] == 1
    assert revision(gateway) == before + 1
    assert len(networks(gateway)) == 8 and networks(gateway, "permit") == ["127.0.0.1"]
    status, document = gateway.api("GET", "/api/v1/settings?lists=false")
    assert document["connections"]["control"] == {"mode": "deny_all_except"}
    assert document["connections"]["interface"]["idle_timeout_minutes"] == 9

    # The file comes first, then what is removed and added.
    status, answer = patch_settings(
        gateway,
        {"deny_list": {"file": {"text": "1.1.1.1\n2.2.2.2", "replace": True}, "remove": ["1.1.1.1"],
                       "add": ["3.3.3.3"]}},
    )
    assert status == 200 and networks(gateway) == ["2.2.2.2", "3.3.3.3"]
    gateway.cli("settings", "rollback", str(before + 1))
    assert len(networks(gateway)) == 8


@pytest.mark.parametrize(
    "change, pointer",
    [
        ({"add": ["300.1.1.1"]}, "/add/0"),
        ({"remove": ["9.9.9.9"]}, "/remove/0"),
        ({"add": [], "insert": []}, "/insert"),
        ({"file": {"text": "1.1.1.1\nfoo"}}, "/file/text/1"),
        ({"file": {"text": 1}}, "/file"),
        ({"file": {"text": "", "append": True}}, "/file"),
    ],
)
def test_a_wrong_change_of_a_list_changes_nothing(gateway, change, pointer):
    before = revision(gateway)
    for query in ("", "?dry_run=true"):
        status, problem = patch_settings(
            gateway, {"deny_list": change}, query, connections={"interface": {"port": 1}}
        )
        assert status == 422
        assert problem["errors"][0]["pointer"] == "/connections/control/deny_list" + pointer
    assert revision(gateway) == before and networks(gateway) == []


def test_lists_come_in_the_order_asked_for(gateway):
    text = "10.0.0.2 # b\n10.0.0.1\n10.0.0.3 # [expires 2031-01-01T00:00:00Z] A\n2001:db8::/32 # c\n"
    assert send_file(gateway, text)[0] == 200
    assert networks(gateway, query="?sort=network") == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::/32"]
    assert networks(gateway, query="?sort=network&order=desc&limit=2") == ["2001:db8::/32", "10.0.0.3"]
    assert networks(gateway, query="?sort=comment") == ["10.0.0.3", "10.0.0.2", "2001:db8::/32", "10.0.0.1"]
    assert networks(gateway, query="?sort=expires")[0] == "10.0.0.3"
    assert networks(gateway, query="?sort=network&limit=2&cursor=2") == ["10.0.0.3", "2001:db8::/32"]
    assert networks(gateway, query="?sort=network&q=10.0.0.0/8") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    for wrong in ("?sort=color", "?sort=network&order=up"):
        assert gateway.api("GET", LISTS + "deny" + wrong)[0] == 400


def test_explain_takes_a_patch_as_a_draft(gateway):
    send_file(gateway, "10.0.0.0/8")
    ask = {"address": "10.1.2.3"}
    assert gateway.api("POST", "/api/v1/explain", ask)[1]["decision"] != "accept"
    ask["patch"] = {"connections": {"control": {"deny_list": {"remove": ["10.0.0.0/8"]}}}}
    status, answer = gateway.api("POST", "/api/v1/explain", ask)
    assert status == 200 and answer["decision"] == "accept" and answer["draft"] is True
    assert networks(gateway) == ["10.0.0.0/8"]
