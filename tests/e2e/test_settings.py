"""Settings, their audit log, and the API that changes them, as an administrator meets them."""

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import threading

import pytest

from lib import BINARY, Postern, Sink, free_port, make_message, run_postern, temporary_folder
from lib.metrics import read_metrics
from lib.postern import UnixConnection


@pytest.fixture(scope="module")
def gateway():
    with Postern(free_port()) as gateway:
        yield gateway


def send(gateway, recipient="b@sink.example"):
    with gateway.client() as client:
        client.hello()
        client.delivers(make_message(), "a@source.example", recipient)


def audit(gateway, query=""):
    status, answer = gateway.api("GET", f"/api/v1/audit{query}")
    assert status == 200, answer
    return answer["items"]


# ---- the audit log ----


def test_every_deed_is_in_the_audit_log(gateway):
    gateway.api("PATCH", "/api/v1/settings?comment=more", {"message_rules": {"max_recipients": 50}})
    row = audit(gateway)[0]
    assert (row["action"], row["outcome"], row["detail"]) == ("settings.change", "done", "more")
    assert row["changes"] == [
        {"pointer": "/message_rules/max_recipients", "before": 1000, "after": 50}
    ]
    assert row["actor"] and row["uid"] == os.geteuid() and row["origin"].startswith("api.sock")
    assert gateway.api("GET", f"/api/v1/settings/revisions/{row['revision']}")[0] == 200

    gateway.api("PATCH", "/api/v1/settings", {"message_rules": {"max_recipients": 0}})
    row = audit(gateway)[0]
    assert row["outcome"] == "refused" and "/message_rules/max_recipients" in row["detail"]
    gateway.api("POST", "/api/v1/queue/hold", {"all": True})
    assert audit(gateway)[0]["action"] == "queue.hold"
    assert "queue.hold all: done" in gateway.cli("audit", "--limit", "1")
    assert gateway.json("audit", "--action", "queue")["items"][0]["action"] == "queue.hold"
    assert gateway.json("audit", "--until", "2020-01-01T00:00:00Z")["items"] == []
    assert "RFC 3339" in gateway.cli("audit", "--since", "now", status=1)


def test_the_console_says_who_its_administrator_is(gateway):
    """`postern run`: the console's user is the gateway's own."""
    said = {"Postern-Actor": "Änne".encode(), "Postern-Client": "192.0.2.7"}
    gateway.api("POST", "/api/v1/queue/hold", {"all": True}, headers=said)
    row = audit(gateway, "?actor=%C3%84nne")[0]
    assert (row["actor"], row["origin"]) == ("Änne", "console, client 192.0.2.7")
    forged = {"Postern-Actor": b"a\xffb"}  # no text: the peer's own name counts
    gateway.api("POST", "/api/v1/queue/hold", {"all": True}, headers=forged)
    assert audit(gateway)[0]["origin"].startswith("api.sock, process ")


ASK = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("POST", "/api/v1/log/flush", headers={"Postern-Actor": "mallory"})
print(connection.getresponse().status)
"""


def test_who_may_ask_and_who_is_believed(root, tool):
    """The peer's credentials decide: its user, its main group, or another of its groups."""
    with Postern(free_port()) as gateway:
        for folder in (gateway.folder, gateway.state):
            folder.chmod(0o755)
        path = gateway.state / "api.sock"
        path.chmod(0o666)  # so that not the file's permissions decide
        before = len(audit(gateway))

        def ask(*groups):
            words = [tool("setpriv"), "--reuid", "65534", "--regid", "65534", *groups]
            run = subprocess.run(
                [*words, "/usr/bin/python3", "-c", ASK, path], capture_output=True, text=True
            )
            return run.stdout.strip()

        assert ask("--clear-groups") == "403"
        assert len(audit(gateway)) == before
        assert ask("--groups", str(os.getegid())) == "204"
        row = audit(gateway)[0]
        assert row["uid"] == 65534 and row["actor"] != "mallory"
        assert row["origin"].startswith("api.sock, process ")


def test_the_audit_log_can_be_read_and_is_written_with_the_gateway_down():
    with Postern(free_port()) as gateway:
        gateway.stop()
        gateway.cli("settings", "rollback", "1", "--comment", "back")
        rows = gateway.json("audit")["items"]
        assert [(r["action"], r["target"], r["detail"]) for r in rows][0] == (
            "settings.restore",
            "revision 1",
            "back",
        )
        assert rows[0]["origin"] == "command line, with the gateway down"
        gateway.restart()
        assert gateway.json("audit")["items"] == rows


@pytest.mark.slow
def test_a_kill_during_saves_leaves_revision_and_audit_row_together():
    rng = random.Random(7)
    with Postern(free_port()) as gateway:
        for _ in range(5):
            saved = []
            enough, begun = rng.randint(1, 40), threading.Event()

            def save(saved=saved, enough=enough, begun=begun):
                try:
                    for number in range(1000):
                        status, answer = gateway.api(
                            "PATCH",
                            "/api/v1/settings",
                            {"message_rules": {"max_recipients": 100 + number}},
                        )
                        assert status == 200, answer
                        saved.append((answer["revision"], 100 + number))
                        if len(saved) == enough:
                            begun.set()
                except (OSError, ValueError, http.client.HTTPException):
                    pass

            thread = threading.Thread(target=save)
            thread.start()
            assert begun.wait(60)
            gateway.kill()
            thread.join()
            gateway.start(apply=False)
            head = gateway.json("settings", "history", "--limit", "500")["items"]
            revision, value = saved[-1]
            assert head[0]["revision"] in (revision, revision + 1)
            now = gateway.api("GET", "/api/v1/settings")[1]["message_rules"]["max_recipients"]
            assert now == value + (head[0]["revision"] - revision)
            rows = gateway.json("audit", "--action", "settings", "--limit", "500")["items"]
            assert [r["revision"] for r in rows][:100] == [h["revision"] for h in head][:100]



# ---- two administrators, documents, export and apply ----


def test_two_administrators_cannot_overwrite_each_other_unknowingly(gateway):
    status, document = gateway.api("GET", "/api/v1/settings")
    revision = gateway.json("settings", "history")["items"][0]["revision"]
    tag = {"If-Match": f'"{revision}"'}
    first = {"message_rules": {"max_recipients": 77}}
    assert gateway.api("PATCH", "/api/v1/settings", first, headers=tag)[0] == 200
    status, problem = gateway.api("PUT", "/api/v1/settings", document, headers=tag)
    assert status == 412 and str(revision + 1) in problem["detail"]
    assert gateway.cli("settings", "show", "message_rules.max_recipients").strip() == "77"


def random_document(rng: random.Random, port: int) -> dict:
    network = lambda: rng.choice(  # noqa: E731
        [
            f"10.{rng.randrange(256)}.0.0/16",
            f"192.0.2.{rng.randrange(256)}",
            f"2001:db8:{rng.randrange(65536):x}::/48",
            f"198.51.{rng.randrange(256)}.0:255.255.255.0",
        ]
    )
    entry = lambda: rng.choice(  # noqa: E731
        [
            network(),
            {"network": network(), "comment": rng.choice(["spam", 'a "b" \\ ü', "😀"])},
            {"network": network(), "expires": "2999-01-01T00:00:00+01:00"},
        ]
    )
    whole = {
        "identity": {"hostname": "gw.example", "greeting": rng.choice(["ESMTP", "hello there"])},
        "connections": {
            "interface": {
                "port": port,
                "idle_timeout_minutes": rng.randint(1, 1440),
                "max_connections": rng.choice([None, 1, 1000000]),
            },
            "control": {
                "mode": "accept_all_except",
                "deny_list": [entry() for _ in range(rng.randrange(6))],
                "permit_list": [entry() for _ in range(rng.randrange(6))],
            },
        },
        "message_rules": {
            "max_message_size_mb": rng.randint(1, 2047),
            "max_recipients": rng.randint(1, 99999),
            "relay_domains": rng.sample(["example.com", "*.example.org", "bücher.example"], 2),
            "permitted_relay": {
                "hosts": "specified",
                "networks": [network() for _ in range(rng.randint(1, 3))],
            },
        },
        "delivery": {
            "routes": [
                {"domain": "example.com", "next_hops": [{"host": "192.0.2.1", "port": 25}]},
                {"domain": "*", "via": "mx"},
            ][: rng.randint(0, 2)]
        },
        "resolver": {"servers": rng.sample(["192.0.2.53", "2001:db8::53@5353"], rng.randint(0, 2))},
    }

    def thinned(value):
        if not isinstance(value, dict) or "network" in value or "hosts" in value:
            return value
        return {k: thinned(v) for k, v in value.items() if k == "port" or rng.random() < 0.8}

    return {
        key: value if key == "identity" else thinned(value)
        for key, value in whole.items()
        if key == "identity" or rng.random() < 0.9
    }


def test_export_and_apply_are_inverse_for_any_document():
    rng = random.Random(4)
    with temporary_folder() as folder:
        state, path, again = folder / "state", folder / "a.json", folder / "b.json"
        for _ in range(40):
            path.write_text(json.dumps(random_document(rng, 2525)))
            run_postern("settings", "apply", path, "--yes", state=state)
            again.write_text(run_postern("settings", "export", state=state).stdout)
            run_postern("settings", "apply", again, "--yes", state=state)
            assert run_postern("settings", "export", state=state).stdout == again.read_text()
            head = json.loads(run_postern("settings", "history", "--json", state=state).stdout)
            number = head["items"][0]["revision"]
            diff = run_postern("settings", "diff", f"{number - 1}", f"{number}", state=state)
            assert diff.stdout == "no difference\n"


def test_apply_at_the_start_is_committed_before_anything_is_served():
    with Postern(free_port(), settings={"message_rules": {"max_recipients": 5}}) as gateway:
        assert gateway.cli("settings", "show", "message_rules.max_recipients").strip() == "5"
        assert gateway.json("settings", "history")["items"][0]["comment"] == "--apply"
        document = gateway.cli("settings", "export")
        gateway.stop()
        path = gateway.folder / "exported.json"
        path.write_text("\ufeff" + document)  # as some editors write it
        gateway.cli("settings", "apply", path)
        gateway.start("--apply", str(path), apply=False)
        assert gateway.cli("settings", "export") == document


def test_a_merge_patch_is_rfc_7396(gateway):
    patch = {"identity": {"greeting": "hello"}, "message_rules": {"relay_domains": ["a.example"]}}
    gateway.api("PATCH", "/api/v1/settings", patch)
    gone = {"identity": {"greeting": None}, "message_rules": {"relay_domains": ["b.example"]}}
    assert gateway.api("PATCH", "/api/v1/settings", gone)[0] == 200
    _, now = gateway.api("GET", "/api/v1/settings")
    assert now["identity"]["greeting"] == "ESMTP ready"  # null: as if not given
    assert now["message_rules"]["relay_domains"] == ["b.example"]  # lists are replaced
    before = gateway.json("settings", "history")["total"]
    for no_object in ([], "x", 1, None):
        status, problem = gateway.api(
            "PATCH",
            "/api/v1/settings",
            json.dumps(no_object),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert status in (400, 422) and problem["errors"], problem
    assert gateway.json("settings", "history")["total"] == before


@pytest.mark.parametrize(
    "patch, word",
    [
        ({"connections": {"control": {"mode": "deny_all_except"}}}, "empty_permit_list"),
        ({"message_rules": {"relay_domains": ["*"]}}, "open_relay"),
    ],
    ids=["empty_permit_list", "open_relay"],
)
def test_what_must_be_confirmed(patch, word):
    with Postern(free_port()) as gateway:
        status, problem = gateway.api("PATCH", "/api/v1/settings", patch)
        assert status == 422 and word in problem["detail"]
        status, _ = gateway.api("PATCH", "/api/v1/settings", {**patch, "confirm": ["nonsense"]})
        assert status == 422
        assert gateway.api("PATCH", "/api/v1/settings", {**patch, "confirm": [word]})[0] == 200
        assert "confirm" not in gateway.api("GET", "/api/v1/settings")[1]
        gateway.cli("settings", "rollback", "1")
        path = gateway.folder / "hazard.json"
        path.write_text(json.dumps({**gateway.document, **patch}))
        gateway.cli("settings", "apply", path, status=1)


# ---- trouble with the database ----


def damaged(path):
    octets = bytearray(path.read_bytes())
    octets[:4096] = random.Random(1).randbytes(4096)
    path.write_bytes(octets)


def foreign(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE other (x)")


def newer(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version=999")


def gone(path):
    path.unlink()


def test_a_revision_is_restored_once_what_it_needs_is_confirmed(gateway):
    opened = {"message_rules": {"relay_domains": ["*"]}, "confirm": ["open_relay"]}
    _, open_relay = gateway.api("PATCH", "/api/v1/settings", opened)
    gateway.api("PATCH", "/api/v1/settings", {"message_rules": {"relay_domains": []}})
    restore = f"/api/v1/settings/revisions/{open_relay['revision']}/restore"
    status, refused = gateway.api("POST", restore)
    assert status == 422 and '"confirm": ["open_relay"]' in refused["detail"]
    for body in ({"confirm": ["opened"]}, {"confirm": "open_relay"}, {"sure": True}, ["open_relay"]):
        assert gateway.api("POST", restore, body)[0] == 422, body
    assert gateway.api("POST", restore, {"confirm": ["empty_permit_list"]})[0] == 422
    status, done = gateway.api("POST", restore, {"confirm": ["open_relay"]})
    assert status == 200 and done["revision"] == open_relay["revision"] + 2
    _, document = gateway.api("GET", "/api/v1/settings")
    assert document["message_rules"]["relay_domains"] == ["*"] and "confirm" not in document
    gateway.api("PATCH", "/api/v1/settings", {"message_rules": {"relay_domains": []}})


@pytest.mark.parametrize(
    "trouble, said",
    [
        (damaged, "is damaged"),
        (foreign, "another program"),
        (newer, "newer version"),
        (gone, "settings are gone"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_and_mended(trouble, said):
    """The safest that can be: no mail is taken or sent on, the queue is kept and can be managed
    once the database is mended or moved away, and nothing becomes a default by itself."""
    with Sink() as sink, Postern(sink) as gateway:
        gateway.cli("settings", "apply", gateway.write_document(), "--comment", "second")
        gateway.stop()
        database = gateway.state / "settings.db"
        good = gateway.folder / "good.db"
        shutil.copy(database, good)
        trouble(database)
        octets = database.read_bytes() if database.exists() else None
        gateway.start(apply=False, ready=False)
        gateway.wait_until(lambda: (gateway.state / "api.sock").exists(), "the API")
        status = gateway.wait_until(
            lambda: (lambda s: s if "not served yet" not in str(s) else None)(
                gateway.json("status")
            ),
            "the queue is loaded",
        )
        assert status["health"] == "red" and status["revision"] is None
        warning = next(w for w in status["warnings"] if said in w["text"])
        assert warning["remedy"]
        assert gateway.api("GET", "/healthz")[0] == 200
        assert gateway.api("GET", "/readyz")[0] == 503
        assert gateway.api("GET", "/api/v1/settings")[0] == 503
        assert gateway.queue() == []
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", gateway.port), timeout=5).close()
        if octets is not None:
            assert database.read_bytes() == octets  # nothing was done to it
            message = gateway.cli("settings", "apply", gateway.write_document(), status=1)
            assert said in message and len(message.splitlines()) == 1
            database.unlink()
        # One way out: put a good one back. It is found by itself.
        shutil.copy(good, gateway.folder / "back.db")
        os.rename(gateway.folder / "back.db", database)
        gateway.wait_until_ready()
        assert gateway.json("settings", "history")["items"][0]["comment"] == "second"
        send(gateway)
        assert sink.wait_for(1)


def test_settings_that_are_gone_can_be_applied_again_without_a_restart():
    with Sink() as sink, Postern(sink) as gateway:
        gateway.stop()
        for path in gateway.state.glob("settings.db*"):
            path.unlink()
        gateway.start(apply=False, ready=False)
        gateway.wait_until(lambda: (gateway.state / "api.sock").exists(), "the API")
        gateway.cli("settings", "apply", gateway.write_document())
        gateway.wait_until_ready()
        assert gateway.json("status")["revision"] == 1
        send(gateway)
        assert sink.wait_for(1)


def test_a_locked_database_is_waited_for():
    with Postern(free_port()) as gateway:
        gateway.stop()
        holder = sqlite3.connect(gateway.state / "settings.db", isolation_level=None)
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        gateway.start(apply=False, ready=False)
        gateway.wait_until(lambda: (gateway.state / "api.sock").exists(), "the API")
        gateway.wait_until(
            lambda: "locked by another process" in json.dumps(gateway.json("status")), "it is said"
        )
        holder.close()
        gateway.wait_until_ready()


def test_a_read_only_database_serves_and_says_so(root):
    with Postern(free_port()) as gateway:
        gateway.stop()
        script = (
            'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
        )
        database = gateway.state / "settings.db"
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh", database, BINARY]
            + ["gateway", "--state", gateway.state],
            stdin=subprocess.DEVNULL,
        )
        try:
            gateway.wait_until(lambda: (gateway.state / "api.sock").exists(), "the API")
            gateway.wait_until(
                lambda: gateway.json("status")["listeners"], "it listens all the same"
            )
            text = json.dumps(gateway.json("status")["warnings"])
            assert "cannot be changed" in text and "may not be written" in text
            message = gateway.cli("settings", "apply", gateway.write_document(), status=1)
            assert "may not be written" in message
        finally:
            process.terminate()
            assert process.wait(40) == 0


def test_a_save_that_the_disk_has_no_room_for_changes_nothing(root):
    with temporary_folder() as folder:
        large = folder / "large.json"
        small = folder / "small.json"
        small.write_text(json.dumps({"identity": {"hostname": "small.example"}}))
        entries = [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(100000)]
        large.write_text(json.dumps({"connections": {"control": {"deny_list": entries}}}))
        (folder / "state").mkdir()
        script = (
            "mount -t tmpfs -o size=1m none state && "
            "$P settings apply small.json && ! $P settings apply large.json && "
            "$P settings show identity.hostname && $P settings history"
        )
        environment = {**os.environ, "P": str(BINARY), "POSTERN_STATE": str(folder / "state")}
        run = subprocess.run(
            ["unshare", "-m", "sh", "-ec", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run
        assert "no space left on the disk" in run.stderr and len(run.stderr.splitlines()) == 1
        assert "small.example" in run.stdout and run.stdout.count("\n") == 4, run.stdout


# ---- the numbers ----


def test_metrics_are_what_prometheus_reads():
    with Sink() as sink, Postern(sink) as gateway:
        send(gateway)
        sink.wait_for(1)
        gateway.settle()
        status, text = gateway.api("GET", "/metrics")
        assert status == 200
        numbers = read_metrics(text)
        assert numbers["postern_messages_accepted_total", ""] == 1
        assert numbers["postern_connections_total", ""] == 1
        assert numbers["postern_spool_accepting", ""] == 1
        assert numbers["postern_settings_revision", ""] == 1
        assert numbers["postern_queue_groups", "held"] == 0
        gateway.wait_until(
            lambda: read_metrics(gateway.api("GET", "/metrics")[1])[
                "postern_recipients_total", "delivered"
            ]
            == 1,
            "counted as delivered",
        )


# ---- the description, and what the server does ----


def raw(gateway, method, path, body=None, kind=None):
    """Status, media type, headers, body of one request."""
    connection = UnixConnection(str(gateway.state / "api.sock"))
    headers = {"Content-Type": kind} if kind else {}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        octets = response.read()
    finally:
        connection.close()
    return (
        response.status,
        response.getheader("Content-Type", "").split(";")[0],
        response.headers,
        octets,
    )


def is_problem(status, kind, octets):
    problem = json.loads(octets)
    return (
        kind == "application/problem+json"
        and problem["status"] == status
        and problem["title"]
        and problem["type"]
    )


BODIES = {
    "/api/v1/connections/test": {"address": "192.0.2.1"},
    "/api/v1/queue/": {"all": True},
}
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def test_every_path_and_verb_of_the_description_answers_as_it_says():
    with Postern(free_port()) as gateway:
        send(gateway)
        identity = gateway.wait_until(gateway.queue, "queued")[0]["id"]
        _, described = gateway.api("GET", "/api/v1/openapi.json")
        assert described["openapi"].startswith("3.1")
        seen = 0
        # DELETE last, so that there is something to ask for.
        operations = sorted(
            (
                (verb, path, operation)
                for path, verbs in described["paths"].items()
                for verb, operation in verbs.items()
            ),
            key=lambda o: (o[0] == "delete" or o[1].endswith(("/delete", "/bounce")), o[1]),
        )
        for verb, path, operation in operations:
            target = path.replace("{id}", identity).replace("{revision}", "1").replace("{address}", "::1")
            body = next((json.dumps(b) for p, b in BODIES.items() if path.startswith(p)), "{}")
            if path == "/api/v1/settings" and verb == "put":
                body = json.dumps(gateway.document)
            takes = operation.get("requestBody", {}).get("content", {})
            if takes and all(not kind.endswith("json") for kind in takes):
                continue  # a text of its own: see the tests of that resource
            if any("text/event-stream" in a.get("content", {}) for a in operation["responses"].values()):
                continue  # without an end: see test_events.py
            kind = next(iter(takes), None)
            status, got, headers, octets = raw(
                gateway, verb.upper(), target, body if takes else None, kind
            )
            answers = operation["responses"]
            description = answers.get(str(status), answers["default"])
            if status >= 400:
                assert is_problem(status, got, octets), (verb, path, octets)
            elif "content" in description:
                assert got in description["content"], (verb, path, got)
                if got == "application/json":
                    json.loads(octets)
            else:
                assert octets == b"" and status in (204, 304), (verb, path, status)
            assert status != 404 or "{" in path, (verb, path)
            assert status not in (405, 500, 501), (verb, path, octets)
            if takes:  # of another kind than described
                status, got, _, octets = raw(
                    gateway, verb.upper(), target, "x", "application/x-unheard-of"
                )
                needed = operation["requestBody"]["required"]
                assert 400 <= status < 500 or not needed, (verb, path, status)
                assert status < 400 or is_problem(status, got, octets)
            unknown = raw(gateway, verb.upper(), f"{target}?unheard_of=1", None, None)
            assert unknown[0] == 400 and is_problem(400, unknown[1], unknown[3]), (verb, path)
            seen += 1
        assert seen >= 20


def test_paths_and_verbs_that_are_not_described_are_404_and_405():
    with Postern(free_port()) as gateway:
        _, described = gateway.api("GET", "/api/v1/openapi.json")
        for path, verbs in described["paths"].items():
            target = path.replace("{id}", "00000000001").replace("{revision}", "1").replace("{address}", "::1")
            for verb in VERBS:
                if verb.lower() in verbs:
                    continue
                status, kind, headers, octets = raw(gateway, verb, target)
                if status == 404:
                    continue  # /queue/retry is "/queue/{id}" too, for another verb
                assert status == 405 and is_problem(405, kind, octets), (verb, path, status)
                allowed = {word.strip() for word in headers["Allow"].split(",")}
                assert {v.upper() for v in verbs} <= allowed and verb not in allowed
            status, kind, _, octets = raw(gateway, "GET", f"{target}/unheard-of")
            assert status == 404 and is_problem(404, kind, octets)
        for path in ("/", "/api", "/api/v2/settings", "/api/v1/settings/", "/api/v1//settings"):
            status, kind, _, octets = raw(gateway, "GET", path)
            assert status == 404 and is_problem(404, kind, octets), path


# ---- bad input ----


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"identity":{"hostname":"a.example"}',
        b'{"identity":{},"identity":{}}',
        b'{"identity":{"hostname":"a.example"}} trailing',
        b'{"identity":{"greeting":"\xff\xfe"}}',
        b'{"identity":{"greeting":"\\ud800"}}',
        b'{"identity":{"greeting":"\\udc00x"}}',
        b'{"identity":{"greeting":"a\\u0000b"}}',
        b'{"message_rules":{"max_recipients":1e400}}',
        b'{"message_rules":{"max_recipients":' + b"9" * 400 + b"}}",
        b'{"message_rules":{"max_recipients":01}}',
        b'{"message_rules":{"max_recipients":NaN}}',
        b"[" * 100000,
        b'{"a":' * 100000,
        b'{"a":1,}',
        b"// comment\n{}",
        b"'a'",
        "{}".encode("utf-16"),
        b"\x00",
        b"[]",
        b"null",
        b"7",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_document_is_refused_with_its_place(gateway, body):
    before = gateway.api("GET", "/api/v1/settings")
    for verb, kind in (("PUT", "application/json"), ("PATCH", "application/merge-patch+json")):
        status, got, _, octets = raw(gateway, verb, "/api/v1/settings", body, kind)
        assert status in (400, 422) and is_problem(status, got, octets), octets
        problem = json.loads(octets)
        assert problem["errors"], problem
        place = re.search(r"line \d+, column \d+", problem["detail"])
        assert place or problem["errors"][0]["detail"], problem
    assert gateway.api("GET", "/api/v1/settings") == before


def exchange(gateway, octets: bytes) -> bytes:
    """What the socket answers to these octets, up to its close."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(str(gateway.state / "api.sock"))
        try:
            s.sendall(octets)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        answer = b""
        try:
            while piece := s.recv(65536):
                answer += piece
        except OSError:
            pass
        return answer


HEAD = b"PUT /api/v1/settings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "octets",
    [
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: +2\r\n\r\n{}",
        HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        HEAD + b"Content-Length: 999999999999\r\n\r\n{}",
        HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b": empty\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length : 2\r\n\r\n{}",
        HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;ext=1\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X: " + b"a" * 200000 + b"\r\n\r\n",
        HEAD + b"X: a\r\n" * 5000 + b"\r\n",
        HEAD.replace(b"Host: x\r\n", b"") + b"Content-Length: 2\r\n\r\n{}",
        HEAD + b"Host: y\r\nContent-Length: 2\r\n\r\n{}",
        b"PUT /api/v1/settings HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PUT  /api/v1/settings HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUT /api/v1/set\x00tings HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\nPUT /api/v1/settings HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUT /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"EHLO there\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=lambda octets: repr(octets[-60:])[:50],
)
def test_requests_of_doubtful_framing_get_one_error_and_the_end(gateway, octets):
    before = gateway.json("settings", "history")["total"]
    answer = exchange(gateway, octets + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 5"), answer[:300]
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", answer)) == 1, answer  # what follows is not taken for a request
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head and json.loads(body)["status"] >= 400
    assert gateway.json("settings", "history")["total"] == before


def test_a_body_cut_short_changes_nothing(gateway):
    before = gateway.json("settings", "history")["total"]
    whole = json.dumps(gateway.document).encode()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        exchange(gateway, HEAD + b"Content-Length: %d\r\n\r\n" % len(whole) + whole[:cut])
    assert gateway.json("settings", "history")["total"] == before
