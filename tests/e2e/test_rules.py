"""Message rules: HELO and reverse-path checks with their DNS, what a session may send."""

import re

import pytest

from lib import Names, Outside, Postern, Sink, make_message

STRANGER, OURS = "127.0.0.9", "127.0.0.77"
RELAY = {"hosts": "specified", "networks": [OURS]}
RECORDS = {
    ("client.example", "A"): ["192.0.2.1"],
    ("six.example", "AAAA"): ["2001:db8::1"],
    ("mx-only.example", "MX"): ["10 mx.elsewhere.example."],
    ("no-mail.example", "MX"): ["0 ."],
    ("no-mail.example", "A"): ["192.0.2.5"],
    ("alias.example", "CNAME"): ["client.example."],
    ("empty.example", "TXT"): ['"nothing"'],
    ("xn--bcher-kva.example", "A"): ["192.0.2.6"],
    ("failing.example", "A"): "SERVFAIL",
    ("failing.example", "AAAA"): "SERVFAIL",
    ("failing.example", "MX"): "SERVFAIL",
}


def rules(helo: dict | None = None, sender: dict | None = None, **more) -> dict:
    document = {"relay_domains": ["example.com", "*.example.com"], "permitted_relay": RELAY, **more}
    if helo is not None:
        document["helo_checks"] = helo
    if sender is not None:
        document["reverse_path_checks"] = sender
    return {"message_rules": document}


def mail(gateway: Postern, helo: str, sender: str, source: str = STRANGER):
    """The reply to MAIL, which an explanation foretells."""
    status, told = gateway.api(
        "POST", "/api/v1/explain", {"address": source, "helo": helo, "from": sender}
    )
    assert status == 200, told
    with gateway.client(source=source) as client:
        client.hello(helo)
        parameters = "" if sender.isascii() else " SMTPUTF8"
        reply = client.says(f"MAIL FROM:<{sender}>{parameters}").reply()
        client.says("QUIT").expect(221)
    if reply.code != 250:
        assert re.search(r" \[ref [0-9A-Z]{4}-[0-9A-Z]{4}\]$", reply.text), reply
    text = re.sub(r" \[ref .*\]$", "", reply.text)
    assert (told["reply"]["code"], f"{told['reply']['status']} {told['reply']['text']}") == (
        reply.code,
        text,
    )
    return reply.code, reply.enhanced


def counts(gateway: Postern) -> dict:
    rows = gateway.api("GET", "/api/v1/connections/limits")[1]["rules"]
    return {row["rule"]: (row["mode"], row["refused"], row["shadow"]) for row in rows}


CASES = [
    # check, key, rule, (HELO, sender), code, status
    ("helo", "syntax", "HELO syntax", ("pc", "a@client.example"), 504, "5.5.2"),
    ("helo", "syntax", "HELO syntax", ("192.0.2.1", ""), 504, "5.5.2"),
    ("helo", "syntax", "HELO syntax", ("a..b.example", ""), 504, "5.5.2"),
    ("helo", "syntax", "HELO syntax", ("[192.0.2.300]", ""), 504, "5.5.2"),
    ("helo", "syntax", "HELO syntax", ("client.example", ""), 250, None),
    ("helo", "syntax", "HELO syntax", ("Client.Example.", ""), 250, None),
    ("helo", "syntax", "HELO syntax", ("[192.0.2.1]", ""), 250, None),
    ("helo", "syntax", "HELO syntax", ("[IPv6:2001:db8::1]", ""), 250, None),
    ("helo", "resolvable", "HELO name in the DNS", ("nowhere.example", ""), 550, "5.7.1"),
    ("helo", "resolvable", "HELO name in the DNS", ("empty.example", ""), 550, "5.7.1"),
    ("helo", "resolvable", "HELO name in the DNS", ("-.example", ""), 550, "5.7.1"),
    ("helo", "resolvable", "HELO name in the DNS", ("failing.example", ""), 451, "4.4.3"),
    ("helo", "resolvable", "HELO name in the DNS", ("mx-only.example", ""), 250, None),
    ("helo", "resolvable", "HELO name in the DNS", ("no-mail.example", ""), 250, None),
    ("helo", "resolvable", "HELO name in the DNS", ("six.example", ""), 250, None),
    ("helo", "resolvable", "HELO name in the DNS", ("CLIENT.example.", ""), 250, None),
    ("helo", "resolvable", "HELO name in the DNS", ("[192.0.2.9]", ""), 250, None),
    ("sender", "syntax", "reverse-path syntax", ("x", "root@pc"), 553, "5.1.7"),
    ("sender", "syntax", "reverse-path syntax", ("x", "root@[tag:x]"), 553, "5.1.7"),
    ("sender", "syntax", "reverse-path syntax", ("x", "root@[192.0.2.1]"), 250, None),
    ("sender", "syntax", "reverse-path syntax", ("x", ""), 250, None),
    ("sender", "own_domain", "own domain in the reverse-path", ("x", "a@EXAMPLE.com"), 550, "5.7.1"),
    ("sender", "own_domain", "own domain in the reverse-path", ("x", "a@b.example.com"), 550, "5.7.1"),
    ("sender", "own_domain", "own domain in the reverse-path", ("x", "a@example.org"), 250, None),
    ("sender", "own_domain", "own domain in the reverse-path", ("x", ""), 250, None),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", "a@nowhere.example"), 553, "5.1.8"),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", "a@empty.example"), 553, "5.1.8"),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", "a@no-mail.example"), 550, "5.7.27"),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", "a@failing.example"), 450, "4.1.8"),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", "a@mx-only.example"), 250, None),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", "a@six.example"), 250, None),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", "a@b\u00fccher.example"), 250, None),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", "a@[192.0.2.1]"), 250, None),
    ("sender", "resolvable", "reverse-path in the DNS", ("x", ""), 250, None),
]


def settings_for(check: str, key: str, mode: str) -> dict:
    return rules(**{check: {key: mode}})


@pytest.mark.parametrize("check, key", sorted({case[:2] for case in CASES}))
def test_a_check_refuses_what_it_should_and_a_shadow_counts_it(check, key):
    cases = [case for case in CASES if case[:2] == (check, key)]
    with Names(RECORDS) as names, Postern(settings=names.settings) as gateway:
        for mode in ("on", "shadow", "off"):
            before = len(names.asked)
            status, answer = gateway.api("PATCH", "/api/v1/settings", settings_for(check, key, mode))
            assert status == 200, answer
            for _, _, rule, (helo, sender), code, enhanced in cases:
                got = mail(gateway, helo, sender)
                assert got == ((code, enhanced) if mode == "on" and code != 250 else (250, "2.1.0"))
                assert mail(gateway, helo, sender, OURS)[0] == 250
            refused = sum(case[4] != 250 for case in cases)
            assert counts(gateway)[cases[0][2]] == (mode, refused, refused if mode != "on" else 0)
            if mode == "off" or key != "resolvable":
                assert len(names.asked) == before
        metrics = gateway.api("GET", "/metrics")[1]
        label = f"{'helo' if check == 'helo' else 'reverse_path'}_{key}"
        assert f'postern_limit_shadow_total{{limit="{label}"}} {refused}\n' in metrics


OWN_NAMES = {
    "gw.example": 550,
    "GW.Example.": 550,
    "localhost": 550,
    "[127.0.0.1]": 550,
    "127.0.0.5": 550,
    "[IPv6:::1]": 550,
    "sub.gw.example": 250,
    "[192.0.2.1]": 250,
    "client.example": 250,
}


def test_nobody_else_may_say_our_name(root):
    """This host may, from any of its addresses, without being allowed to relay."""
    listens = {"connections": {"interface": {"address": "all"}}}
    settings = rules(helo={"own_name": "on"})
    with Outside() as outside, Postern(settings={**settings, **listens}) as gateway:
        for helo, code in {**OWN_NAMES, f"[{outside.host}]": 550}.items():
            assert mail(gateway, helo, "") == (250, "2.1.0")
            with outside.client(gateway.port) as client:
                client.hello(helo)
                reply = client.says("MAIL FROM:<>").expect(code)
                told = gateway.json("explain", outside.address, "--helo", helo)["reply"]
                assert told["code"] == code
                assert f"{told['status']} {told['text']}" == reply.text.split(" [ref ")[0]
        refused = sum(code == 550 for code in OWN_NAMES.values()) + 1
        assert counts(gateway)["own name in HELO"] == ("on", refused, 0)
        shadow = rules(helo={"own_name": "shadow"})
        assert gateway.api("PATCH", "/api/v1/settings", shadow)[0] == 200
        with outside.client(gateway.port) as client:
            client.hello("gw.example")
            client.says("MAIL FROM:<>").expect(250)
        assert counts(gateway)["own name in HELO"] == ("shadow", refused, 1)


def test_a_name_is_asked_for_once_in_a_session_and_then_known_to_the_resolver():
    helo, sender = {"resolvable": "on"}, {"resolvable": "on"}
    with (
        Names(RECORDS) as names,
        Sink() as sink,
        Postern(sink, settings={**rules(helo, sender), **names.settings}) as gateway,
    ):
        for _ in range(3):
            with gateway.client(source=STRANGER) as client:
                client.hello("client.example")
                for _ in range(3):
                    client.delivers(make_message(), "a@mx-only.example", "b@example.com")
                client.says("QUIT").expect(221)
        assert names.asked.count(("client.example", "A")) == 1
        assert names.asked.count(("mx-only.example", "MX")) == 1
        assert not [kind for name, kind in names.asked if "elsewhere" in name]
        gateway.settle()
        assert len(sink.messages) == 9


def test_pipelining_waits_for_the_dns_and_goes_on():
    records = {**RECORDS, ("slow.example", "MX"): None}
    with (
        Names(records) as names,
        Sink() as sink,
        Postern(sink, settings={**rules(sender={"resolvable": "on"}), **names.settings}) as gateway,
    ):
        content = make_message(body=b"x" * 70 + b"\r\n")
        client = gateway.client(source=STRANGER)
        client.hello()
        client.sends(
            b"MAIL FROM:<a@slow.example> BODY=8BITMIME\r\nRCPT TO:<b@example.com>\r\n"
            b"RCPT TO:<b@elsewhere.example>\r\nBDAT %d LAST\r\n%sNOOP\r\nQUIT\r\n"
            % (len(content), content)
        )
        gateway.wait_until(
            lambda: "waiting for the DNS"
            in [c["state"] for c in gateway.api("GET", "/api/v1/connections/live")[1]["items"]],
            "the session waits",
        )
        client.expect_silence()
        other = gateway.client(source=STRANGER)  # nobody else waits
        other.hello()
        other.says("MAIL FROM:<>").expect(250)
        names.records[("slow.example", "MX")] = ["10 mx.slow.example."]
        for code in (250, 250, 550, 250, 250, 221):
            client.expect(code)
        client.expect_closed()
        gateway.settle()
        assert [m.reverse_path for m in sink.messages] == ["a@slow.example"]


def test_who_goes_away_while_the_dns_is_asked_leaves_nothing_behind():
    records = {**RECORDS, ("silent.example", "MX"): None}
    settings = rules(sender={"resolvable": "on"})
    with Names(records) as names, Postern(settings={**settings, **names.settings}) as gateway:
        clients = [gateway.client(source=STRANGER) for _ in range(6)]
        for client in clients:
            client.hello()
            client.says("MAIL FROM:<a@silent.example>")
        gateway.wait_until(
            lambda: [
                c["state"] for c in gateway.api("GET", "/api/v1/connections/live")[1]["items"]
            ].count("waiting for the DNS")
            == 6,
            "they wait",
        )
        clients[0].reset()
        clients[1].close()
        sessions = gateway.api("GET", "/api/v1/connections/live")[1]["items"]
        status, _ = gateway.api("DELETE", f"/api/v1/connections/live/{sessions[-1]['id']}?now=true")
        assert status in (200, 202, 204)
        other = gateway.client(source=STRANGER)
        other.hello()
        other.says("MAIL FROM:<>").expect(250)
        # The gateway ends with status 0 and without a complaint while the others wait.


# ---- what a session may send ----


def test_messages_of_a_connection_are_limited():
    with Sink() as sink, Postern(sink, settings=rules(max_messages_per_connection=2)) as gateway:
        with gateway.client(source=STRANGER) as client:
            assert "MAILMAX=2" in client.hello().text
            for _ in range(2):
                client.delivers(make_message(), "a@source.example", "b@example.com")
            client.says("MAIL FROM:<a@source.example>").expect(421, "4.7.0", "[ref ")
            client.expect_closed()
        with gateway.client(source=STRANGER) as client:  # a new connection begins anew
            client.hello()
            client.delivers(make_message(), "a@source.example", "b@example.com")
        gateway.settle()
        assert len(sink.messages) == 3


def test_data_of_a_connection_is_limited():
    body = b"x" * 998 + b"\r\n"
    half = make_message(body=body * 600)  # of a MiB, and a little more
    settings = rules(max_data_per_connection_mb=2, max_message_size_mb=1)
    with Sink() as sink, Postern(sink, settings=settings) as gateway:
        client = gateway.client(source=STRANGER)
        client.hello()
        for _ in range(3):
            client.delivers(half, "a@source.example", "b@example.com")
        client.says(f"MAIL FROM:<a@source.example> SIZE={1 << 20}").expect(
            421, "4.7.0", "Too much data"
        )
        client.expect_closed()
        # Without SIZE a message that begins below the limit may end.
        client = gateway.client(source=STRANGER)
        client.hello()
        for _ in range(4):
            client.delivers(half, "a@source.example", "b@example.com")
        client.says("MAIL FROM:<a@source.example>").expect(421, "4.7.0", "[ref ")
        client.expect_closed()
        # What was refused in the end counts too, as far as it was taken.
        client = gateway.client(source=STRANGER)
        client.hello()
        for _ in range(3):
            client.starts_data("a@source.example", "b@example.com")
            client.sends_message(body * 1100).expect(552, "5.3.4")
        client.says("MAIL FROM:<a@source.example>").expect(421, "4.7.0")
        gateway.settle()
        assert len(sink.messages) == 7


def test_size_and_recipients_are_limited_live_and_in_explain():
    settings = rules(max_message_size_mb=1, max_recipients=2)
    with Sink() as sink, Postern(sink, settings=settings) as gateway:
        with gateway.client(source=STRANGER) as client:
            hello = client.hello().text
            assert "SIZE 1048576" in hello and "RCPTMAX=2" in hello
            refused = client.says("MAIL FROM:<> SIZE=1048577").expect(552, "5.3.4", "[ref ").text
            client.says("MAIL FROM:<> SIZE=1048576").expect(250)
            for name in ("a", "b"):
                client.says(f"RCPT TO:<{name}@example.com>").expect(250)
            client.says("RCPT TO:<c@example.com>").expect(452, "4.5.3", "[ref ")
            client.says("DATA").expect(354)
            client.sends_message(b"x: y\r\n\r\n" + b"x" * 1048576 + b"\r\n").expect(552, "5.3.4")
        told = gateway.json("explain", STRANGER, "--size", "1048577")
        assert told["rule"] == "message size" and told["size"] == 1048577
        assert f"{told['reply']['status']} {told['reply']['text']}" == refused.split(" [ref ")[0]
        limits = {s["rule"]: s["limit"] for s in told["steps"] if "limit" in s}
        assert limits["message size"] == 1048576
        told = gateway.json("explain", STRANGER, "--to", "a@example.com", "--size", "1048576")
        limits = {s["rule"]: s["limit"] for s in told["steps"] if "limit" in s}
        assert limits["recipients per message"] == 2 and told["decision"] == "accept"
        assert gateway.queue() == [] and sink.messages == []


@pytest.mark.parametrize(
    "document, pointer",
    [
        ({"max_data_per_connection_mb": 1}, "/message_rules/max_data_per_connection_mb"),
        ({"max_data_per_connection_mb": 0}, "/message_rules/max_data_per_connection_mb"),
        ({"helo_checks": {"syntax": "yes"}}, "/message_rules/helo_checks/syntax"),
        ({"helo_checks": {"own_domain": "on"}}, "/message_rules/helo_checks/own_domain"),
        ({"reverse_path_checks": {"own_name": "on"}}, "/message_rules/reverse_path_checks/own_name"),
        ({"reverse_path_checks": []}, "/message_rules/reverse_path_checks"),
    ],
)
def test_wrong_values_are_named(gateway, document, pointer):
    status, answer = gateway.api("PATCH", "/api/v1/settings", {"message_rules": document})
    assert status == 422 and [e["pointer"] for e in answer["errors"]] == [pointer]


def test_rules_that_are_not_given_stay_out_of_the_document(gateway):
    shown = gateway.api("GET", "/api/v1/settings")[1]["message_rules"]
    assert {"helo_checks", "reverse_path_checks", "max_data_per_connection_mb"}.isdisjoint(shown)
    patch = {"message_rules": {"helo_checks": {"syntax": "shadow"}}}
    assert gateway.api("PATCH", "/api/v1/settings?dry_run=true", patch)[0] == 200


@pytest.fixture(scope="module")
def gateway():
    with Postern() as one:
        yield one
