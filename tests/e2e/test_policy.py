"""The order of decisions: limits, temporary bans, explain, and that explain tells the truth."""

import contextlib
import json
import random
import re
import ssl
import subprocess
import time

import pytest

from lib import Client, Names, Postern

RELAY = {"message_rules": {"relay_domains": ["example.com"]}}


def limits(**of) -> dict:
    return {"connections": {"limits": of}, **RELAY}


def explained(gateway: Postern, address: str, **question) -> dict:
    status, answer = gateway.api("POST", "/api/v1/explain", {"address": address, **question})
    assert status == 200, answer
    return answer


def refused_at_connect(gateway: Postern, source: str, code: int, status: str, text: str = "") -> str:
    with gateway.client(source=source, greeting=None) as client:
        reply = client.expect(code, status, text)
        client.expect_closed()
    return reply.text


def ends(client: Client) -> None:
    client.says("QUIT").expect(221)
    client.expect_closed()
    client.close()


def shadow_counts(gateway: Postern) -> dict:
    return {r["rule"]: r for r in gateway.api("GET", "/api/v1/connections/limits")[1]["rules"]}


# ---- each limit ----


def test_connections_at_once_are_limited_for_each_address_and_each_network():
    of = {"simultaneous_connections": {"mode": "on", "per_address": 2, "per_prefix": 3}}
    with Postern(settings=limits(**of)) as gateway:
        first, second = gateway.client(source="127.0.5.1"), gateway.client(source="127.0.5.1")
        text = refused_at_connect(gateway, "127.0.5.1", 421, "4.7.0", "from your address")
        assert re.search(r" \[ref [0-9A-Z]{4}-[0-9A-Z]{4}\]$", text)
        third = gateway.client(source="127.0.5.2")
        refused_at_connect(gateway, "127.0.5.3", 421, "4.7.0", "from your network")
        assert gateway.api("GET", "/api/v1/status")[1]["sessions"]["now"] == 3
        ends(gateway.client(source="127.0.6.1"))  # another network
        ends(first)
        fourth = gateway.client(source="127.0.5.1")
        for client in (second, third, fourth):
            ends(client)
        assert explained(gateway, "127.0.5.1")["decision"] == "accept"


def test_connections_messages_and_recipients_in_a_minute():
    of = {
        "connections_per_minute": {"mode": "on", "per_address": 3},
        "messages_per_minute": {"mode": "on", "per_address": 2},
        "recipients_per_minute": {"mode": "on", "per_address": 2, "per_prefix": None},
    }
    with Postern(settings=limits(**of)) as gateway:
        for _ in range(3):
            ends(gateway.client(source="127.0.0.10"))
        refused_at_connect(gateway, "127.0.0.10", 421, "4.7.0", "Too many connections")

        with gateway.client(source="127.0.0.11") as client:
            client.hello()
            for _ in range(2):
                client.says("MAIL FROM:<>").expect(250)
                client.says("RSET").expect(250)
            client.says("MAIL FROM:<>").expect(421, "4.7.0", "Too many messages")
            client.expect_closed()

        with gateway.client(source="127.0.0.12") as client:
            client.hello()
            client.says("MAIL FROM:<>").expect(250)
            for _ in range(2):
                client.says("RCPT TO:<a@example.com>").expect(250)
            client.says("RCPT TO:<a@example.com>").expect(421, "4.7.0", "Too many recipients")
            client.expect_closed()

        # The next session of the client is refused just the same.
        with gateway.client(source="127.0.0.11") as client:
            client.hello()
            client.says("MAIL FROM:<>").expect(421, "4.7.0")


def test_failures_are_limited_and_bring_a_ban():
    of = {
        "failures_per_minute": {"mode": "on", "per_address": 6},
        "ban": {"mode": "on", "failures": 4, "duration_minutes": 7},
    }
    with Postern(settings=limits(**of)) as gateway:
        with gateway.client(source="127.0.0.20") as client:
            client.hello()
            client.says("NONSENSE").expect(500)
            client.says("MAIL FROM:<a@b@c>").expect(501)
            client.says("MAIL FROM:<a@b.example>").expect(250)
            client.says("RCPT TO:<a@example.com>").expect(250)
            assert gateway.json("connections", "bans")["items"] == []
            client.says("NONSENSE").expect(500)
            client.says("RSET").expect(250)
            client.says("NONSENSE").expect(500)
            client.says("MAIL FROM:<a@b.example>").expect(421, "4.7.0", "kept out")
            client.expect_closed()
        refused_at_connect(gateway, "127.0.0.20", 421, "4.7.0", "kept out")
        ban = gateway.json("connections", "bans")["items"][0]
        assert (ban["client"], ban["kind"], ban["failures"]) == ("127.0.0.20", "automatic", 4)
        gateway.wait_until(lambda: '"event":"banned"' in gateway.log(), "logged")

        answer = explained(gateway, "127.0.0.20", to="a@example.com")
        assert answer["rule"] == "temporary ban"
        assert answer["reply"]["code"] == 421 and answer["reply"]["status"] == "4.7.0"
        ends(gateway.client(source="127.0.0.21"))

        # Lifted, its failures are forgiven.
        gateway.cli("connections", "unban", "127.0.0.20")
        with gateway.client(source="127.0.0.20") as client:
            client.hello()
            for _ in range(3):
                client.says("NONSENSE").expect(500)
            assert gateway.json("connections", "bans")["total"] == 0
            client.says("NONSENSE").expect(500)
        assert gateway.json("connections", "bans")["total"] == 1


def test_a_ban_that_an_administrator_sets_needs_no_limits():
    with Postern(settings=RELAY) as gateway:
        client = gateway.client(source="127.0.0.30")
        client.hello()
        client.says("MAIL FROM:<>").expect(250)
        gateway.cli("connections", "ban", "127.0.0.30", "--minutes", "5", "--comment", "a loop")
        client.says("RCPT TO:<a@example.com>").expect(421, "4.7.0")
        client.expect_closed()
        refused_at_connect(gateway, "127.0.0.30", 421, "4.7.0")
        answer = explained(gateway, "127.0.0.30")
        step = next(s for s in answer["steps"] if s["decisive"])
        assert step["rule"] == "temporary ban" and step["comment"] == "a loop"
        assert "a loop" in gateway.cli("connections", "bans")
        status, ban = gateway.api("GET", "/api/v1/connections/bans/127.0.0.30")
        assert status == 200 and ban["client"] == "127.0.0.30" and ban["failures"] is None
        assert gateway.api("GET", "/api/v1/connections/bans/127.0.0.31")[0] == 404
        assert gateway.cli("connections", "unban", "127.0.0.30") == (
            "127.0.0.30 is not banned any more\n"
        )
        ends(gateway.client(source="127.0.0.30"))
        assert "no ban" in gateway.cli("connections", "unban", "127.0.0.30", status=1)
        actions = [(a["action"], a["outcome"]) for a in gateway.json("audit")["items"]]
        assert actions[:3] == [("ban.lift", "refused"), ("ban.lift", "done"), ("ban.set", "done")]


@pytest.mark.parametrize(
    "body, pointer",
    [
        ({"address": "10.0.0.0/8"}, "/address"),
        ({"minutes": 5}, "/address"),
        ({"address": "10.0.0.1", "minutes": 0}, "/minutes"),
        ({"address": "10.0.0.1", "minutes": "5"}, "/minutes"),
        ({"address": "10.0.0.1", "comment": "x" * 121}, "/comment"),
        ({"address": "10.0.0.1", "reason": "x"}, "/reason"),
    ],
)
def test_a_wrong_ban_is_refused_and_named(gateway, body, pointer):
    status, answer = gateway.api("POST", "/api/v1/connections/bans", body)
    assert status == 422 and answer["errors"][0]["pointer"] == pointer
    assert gateway.api("GET", "/api/v1/connections/bans")[1]["total"] == 0


@pytest.fixture(scope="module")
def gateway():
    with Postern(settings=RELAY) as one:
        yield one


def test_exempt_clients_are_not_limited():
    of = {
        "connections_per_minute": {"mode": "on", "per_address": 1},
        "ban": {"mode": "on", "failures": 1},
        "exempt": ["127.0.0.40:255.255.255.254"],
    }
    with Postern(settings=limits(**of)) as gateway:
        for _ in range(4):
            client = gateway.client(source="127.0.0.41")
            client.says("NONSENSE").expect(500)
            ends(client)
        answer = explained(gateway, "127.0.0.41")
        step = next(s for s in answer["steps"] if s["rule"] == "exemption from limits")
        assert step["entry"] == "127.0.0.40:255.255.255.254" and answer["decision"] == "accept"
        ends(gateway.client(source="127.0.0.42"))
        refused_at_connect(gateway, "127.0.0.42", 421, "4.7.0")


def test_a_limit_counts_from_when_it_is_asked_for_and_not_after():
    with Postern(settings=RELAY) as gateway:
        early = gateway.client(source="127.0.0.50")
        of = {"simultaneous_connections": {"mode": "on", "per_address": 1}}
        assert gateway.api("PATCH", "/api/v1/settings", limits(**of))[0] == 200
        late = gateway.client(source="127.0.0.50")  # `early` came before anybody counted
        refused_at_connect(gateway, "127.0.0.50", 421, "4.7.0")
        ends(early)
        refused_at_connect(gateway, "127.0.0.50", 421, "4.7.0")
        assert (
            gateway.api("PATCH", "/api/v1/settings", {"connections": {"limits": None}})[0] == 200
        )
        ends(gateway.client(source="127.0.0.50"))
        ends(late)
        assert "limits" not in gateway.api("GET", "/api/v1/settings")[1]["connections"]


# ---- shadow ----


def test_what_a_shadow_would_refuse_is_counted_and_let_through():
    of = {
        "connections_per_minute": {"mode": "shadow", "per_address": 2, "per_prefix": None},
        "messages_per_minute": {"mode": "shadow", "per_address": 1, "per_prefix": None},
        "ban": {"mode": "shadow", "failures": 1},
    }
    with Postern(settings=limits(**of)) as gateway:
        for _ in range(5):
            ends(gateway.client(source="127.0.0.60"))
        with gateway.client(source="127.0.0.61") as client:
            client.hello()
            for _ in range(3):
                client.says("MAIL FROM:<>").expect(250)
                client.says("RSET").expect(250)
            client.says("NONSENSE").expect(500)
            client.says("MAIL FROM:<>").expect(250)
        rules = shadow_counts(gateway)
        assert rules["connections per minute"]["shadow"] == 3
        assert rules["connections per minute"]["mode"] == "shadow"
        assert rules["messages per minute"]["shadow"] == 3
        assert rules["temporary ban"]["shadow"] == 1
        assert all(rule["refused"] == 0 for rule in rules.values())
        items = gateway.json("connections", "limits")["items"]
        counts = {(row["client"], row["rule"]): row["count"] for row in items}
        assert counts == {
            ("127.0.0.60", "connections per minute"): 3,
            ("127.0.0.61", "messages per minute"): 3,
            ("127.0.0.61", "temporary ban"): 1,
        }
        assert [row["count"] for row in items] == [3, 3, 1]
        metrics = gateway.api("GET", "/metrics")[1]
        assert 'postern_limit_shadow_total{limit="connections_per_minute"} 3' in metrics
        assert 'postern_limit_refused_total{limit="connections_per_minute"} 0' in metrics
        outcomes = {
            s["rule"]: s["outcome"] for s in explained(gateway, "127.0.0.60")["steps"]
        }
        assert outcomes["connections per minute"] == "shadow"
        assert "would be refused" in gateway.cli("explain", "127.0.0.60")


def test_a_shadow_counts_what_the_limit_would_refuse():
    """The same clients under both: as many are refused as a shadow has counted."""
    counted = {}
    for mode in ("shadow", "on"):
        of = {"connections_per_minute": {"mode": mode, "per_address": 3, "per_prefix": 8}}
        with Postern(settings=limits(**of)) as gateway:
            for number in range(24):
                client = gateway.client(source=f"127.0.0.{70 + number % 4}", greeting=None)
                if client.reply().code == 220:
                    ends(client)
            rule = shadow_counts(gateway)["connections per minute"]
            counted[mode] = rule["shadow"] + rule["refused"]
    assert counted["shadow"] == counted["on"] == 16


# ---- explain ----


def test_explain_tells_every_step_and_what_would_have_come_next(gateway):
    answer = explained(gateway, "203.0.113.9", helo="m.example", to="a@elsewhere.example")
    assert [s["step"] for s in answer["steps"]] == sorted(s["step"] for s in answer["steps"])
    assert answer["reply"] == {
        "code": 550,
        "status": "5.7.1",
        "text": "Relaying denied: you may not send to this domain from here",
    }
    assert answer["decision"] == "refuse" and answer["rule"] == "relay domains"

    draft = dict(gateway.document, connections={**gateway.document["connections"]})
    draft["connections"]["control"] = {"deny_list": [{"network": "203.0.113.0/24", "comment": "x"}]}
    answer = explained(gateway, "203.0.113.9", to="a@elsewhere.example", draft=draft)
    assert answer["draft"] and answer["revision"] is None
    refusals = [(s["rule"], s["decisive"]) for s in answer["steps"] if s["outcome"] == "refused"]
    assert refusals == [("connection control", True), ("relay domains", False)]
    step = answer["steps"][0]
    assert (step["list"], step["entry"], step["comment"]) == ("deny_list", "203.0.113.0/24", "x")
    assert explained(gateway, "203.0.113.9")["decision"] == "accept"  # nothing was changed


def test_explain_on_the_command_line(gateway, tmp_path):
    text = gateway.cli("explain", "203.0.113.9", "--to", "<a@example.com>", "--helo", "m\tx")
    assert text.splitlines()[-1].endswith("250 2.1.5 Recipient OK")
    assert "relay domains" in text and "ACCEPTED" in text and "\\x09" in text
    draft = tmp_path / "draft.json"
    draft.write_text(json.dumps({"connections": {"control": {"mode": "deny_all_except"}}}))
    text = gateway.cli("explain", "203.0.113.9", "--draft", str(draft))
    assert "554 5.7.1" in text and "no entry of the permit list fits" in text
    assert gateway.json("explain", "::1", "--tls")["tls"] is True
    draft.write_text('{"connections": {"control": {"mode": "deny"}}}')
    wrong = gateway.cli("explain", "203.0.113.9", "--draft", str(draft), status=1)
    assert "/connections/control/mode" in wrong
    draft.write_text("{")
    assert "not JSON" in gateway.cli("explain", "::1", "--draft", str(draft), status=1)
    assert "/address" in gateway.cli("explain", "10.0.0.0/8", status=1)
    gateway.cli("explain", status=2)
    assert "no reference 0000-0000" in gateway.cli("explain", "ref", "0000-0000", status=1)


@pytest.mark.parametrize(
    "body, pointer",
    [
        ({}, "/address"),
        ({"address": "mail.example"}, "/address"),
        ({"address": "::1", "to": "a@"}, "/to"),
        ({"address": "::1", "from": "postmaster"}, "/from"),
        ({"address": "::1", "tls": 1}, "/tls"),
        ({"address": "::1", "helo": 1}, "/helo"),
        ({"address": "::1", "draft": []}, "/draft"),
        ({"address": "::1", "sender": "a@b.example"}, "/sender"),
        ({"address": "::1", "draft": {"no": 1}}, "/no"),
    ],
)
def test_a_wrong_question_is_named(gateway, body, pointer):
    status, answer = gateway.api("POST", "/api/v1/explain", body)
    assert status == 422, answer
    assert [e["pointer"] for e in answer["errors"]] == [pointer]


# ---- explain and live agree ----

SOURCES = ["127.0.0.1", "127.0.0.2", "127.0.0.9", "127.0.1.1", "127.1.2.3", "127.200.0.7", "::1"]
NETWORKS = ["127.0.0.0/24", "127.0.0.2", "127.1.0.0/16", "127.0.0.8/29", "::1", "127.0.0.0/8"]
RECIPIENTS = [
    "a@example.com",
    "a@sub.example.com",
    "a@elsewhere.example",
    "a%b@example.com",
    "postmaster",
    "a@[127.0.0.1]",
    '"x!y"@example.com',
]
HELOS = [
    "client.example",
    "gw.example",
    "[127.0.0.9]",
    "[192.0.2.1]",
    "127.0.0.1",
    "localhost",
    "nowhere.example",
    "mx-only.example",
    "failing.example",
    "a..b",
]
SENDERS = [
    "",
    "a@source.example",
    "a@mx-only.example",
    "a@null.example",
    "a@nowhere.example",
    "a@failing.example",
    "a@example.com",
    "a@sub.example.com",
    "a@host",
    "a@[192.0.2.1]",
]
RECORDS = {
    ("client.example", "A"): ["192.0.2.1"],
    ("source.example", "AAAA"): ["2001:db8::1"],
    ("mx-only.example", "MX"): ["10 mx.elsewhere.example."],
    ("null.example", "MX"): ["0 ."],
    ("example.com", "A"): ["192.0.2.3"],
    ("failing.example", "A"): "SERVFAIL",
    ("failing.example", "AAAA"): "SERVFAIL",
    ("failing.example", "MX"): "SERVFAIL",
}


def certificate(folder) -> dict:
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=gw.example", "-days", "30"]
        + ["-addext", "subjectAltName=DNS:gw.example"],
        check=True,
        capture_output=True,
    )
    return {"certificate": cert.read_text(), "private_key": key.read_text()}


def some_limit(r: random.Random) -> dict:
    return {
        "mode": r.choice(["off", "shadow", "on", "on"]),
        "per_address": r.choice([1, 2, 4, 9]),
        "per_prefix": r.choice([None, 3, 8]),
    }


def some_settings(r: random.Random, port: int, cert: str) -> dict:
    lists = {k: r.sample(NETWORKS, r.randrange(3)) for k in ("deny_list", "permit_list")}
    incoming = r.random() < 0.5
    document = {
        "identity": {"hostname": "gw.example"},
        "connections": {
            "interface": {"port": port, "max_connections": r.choice([None, None, 2])},
            "control": {"mode": r.choice(["accept_all_except"] * 2 + ["deny_all_except"]), **lists},
            "tls": {
                "incoming": incoming,
                "incoming_required": incoming and r.random() < 0.5,
                "certificate": cert,
            },
        },
        "message_rules": {
            "relay_domains": r.sample(["example.com", "*.example.com"], r.randrange(3)),
            "permitted_relay": {
                "hosts": r.choice(["host_only", "specified", "specified"]),
                "networks": r.sample(NETWORKS[:5], r.randrange(3)),
            },
        },
        "confirm": ["empty_permit_list"],
    }
    for checks, keys in {
        "helo_checks": ("syntax", "resolvable", "own_name"),
        "reverse_path_checks": ("syntax", "resolvable", "own_domain"),
    }.items():
        if r.random() < 0.7:
            modes = {key: r.choice(["off", "shadow", "on"]) for key in keys}
            document["message_rules"][checks] = modes
    if r.random() < 0.7:
        document["connections"]["limits"] = {
            "simultaneous_connections": some_limit(r),
            "connections_per_minute": some_limit(r),
            "messages_per_minute": some_limit(r),
            "recipients_per_minute": some_limit(r),
            "failures_per_minute": some_limit(r),
            "ban": {"mode": r.choice(["off", "shadow", "on"]), "failures": r.choice([2, 5])},
            "exempt": r.sample(NETWORKS[:5], r.randrange(2)),
        }
    return document


def begins_tls(client: Client) -> None:
    client.says("STARTTLS").expect(220)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client._socket = context.wrap_socket(client._socket)


def what_a_session_gets(
    gateway: Postern, source: str, helo: str, sender: str, to: str, tls: bool
):
    """The first refusal, or the reply to RCPT."""
    host = "::1" if ":" in source else "127.0.0.1"
    with Client(host, gateway.port, source=source, greeting=None) as client:
        gateway.clients.append(client)
        reply = client.reply()
        if reply.code == 220:
            client.says(f"EHLO {helo}").expect(250)
            if tls:
                begins_tls(client)
                client.says(f"EHLO {helo}").expect(250)
            reply = client.says(f"MAIL FROM:<{sender}>").reply()
            if reply.code == 250:
                reply = client.says(f"RCPT TO:<{to}>").reply()
            if reply.code != 421:
                client.says("QUIT").expect(221)
        with contextlib.suppress(ssl.SSLError):
            client.expect_closed()
        gateway.clients.pop()
    text = re.sub(r" \[ref [^]]*\]$", "", reply.text)
    return reply.code, text


@pytest.mark.parametrize("seed", range(4))
def test_explain_says_what_a_real_session_gets(seed, tmp_path):
    r = random.Random(seed)
    asked, refused = 0, set()
    with Names(RECORDS) as names, Postern(settings=names.settings) as gateway:
        status, uploaded = gateway.api("POST", "/api/v1/tls/certificates", certificate(tmp_path))
        assert status in (200, 201), uploaded
        end = time.monotonic() + 30  # before the first counts are forgotten
        for _ in range(25):
            document = some_settings(r, gateway.port, uploaded["id"])
            document.update(names.settings)
            draft = dict(document)
            del draft["confirm"]
            source, to = r.choice(SOURCES), r.choice(RECIPIENTS)
            helo, sender = r.choice(HELOS), r.choice(SENDERS)
            tls = document["connections"]["tls"]["incoming"] and r.random() < 0.6
            question = {"helo": helo, "from": sender, "to": to, "tls": tls}
            under_draft = explained(gateway, source, **question, draft=draft)
            status, answer = gateway.api("PUT", "/api/v1/settings", document)
            assert status == 200, answer
            for number in range(6):
                if time.monotonic() > end:
                    break
                if number:
                    source, to = r.choice(SOURCES), r.choice(RECIPIENTS)
                    helo, sender = r.choice(HELOS), r.choice(SENDERS)
                question = {"helo": helo, "from": sender, "to": to, "tls": tls}
                told = explained(gateway, source, **question)
                reply = told["reply"]
                got = what_a_session_gets(gateway, source, helo, sender, to, tls)
                want = (reply["code"], f"{reply['status']} {reply['text']}")
                assert got == want, (document, source, question, told)
                if number == 0 and "limits" not in document["connections"]:
                    assert under_draft["reply"] == reply
                asked += 1
                refused.add(told["rule"] if told["decision"] != "accept" else "accepted")
    assert asked >= 20 and len(refused) >= 4, (asked, refused)
