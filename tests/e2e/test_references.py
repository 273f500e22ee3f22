"""What the reference at the end of a refusal leads to."""

import re
import sqlite3

import pytest

from lib import Postern, Sink
from lib.metrics import read_metrics

pytestmark = pytest.mark.asan

REF = re.compile(r"\[ref ([0-9A-Z]{4}-[0-9A-Z]{4})\]$")


def reference(reply) -> str:
    found = REF.search(reply.text.strip())
    assert found, reply.text
    return found[1]


def explain(gateway, ref: str) -> dict:
    return gateway.json("explain", "ref", ref)


def explainable(gateway, ref: str) -> bool:
    return gateway.api("POST", "/api/v1/explain", {"ref": ref})[0] == 200


def refused(gateway, source="127.0.0.2", code=554) -> str:
    with gateway.client(source=source, greeting=None) as client:
        return reference(client.expect(code))


DENY = {"connections": {"control": {"deny_list": [{"network": "127.0.0.2/31", "comment": "a test"}]}}}


def test_a_refused_client_with_entry_comment_author_and_revision():
    control = {"deny_list": []}
    with Postern(settings={"connections": {"control": control}}) as gateway:
        gateway.cli("access", "add", "127.0.0.2", "--list", "deny", "--comment", "sends spam")
        ref = refused(gateway)
        found = explain(gateway, ref)
        assert found["ref"] == ref
        assert (found["client"], found["rule"]) == ("127.0.0.2", "connection control")
        assert (found["list"], found["entry"]) == ("deny", "127.0.0.2")
        assert found["comment"] == "sends spam"
        assert found["code"] == 554 and found["reply"].endswith(f"[ref {ref}]")
        assert found["revision"] == found["added"]["revision"] > 1
        assert found["added"]["author"]
        assert found["command"] is None and found["from"] is None and found["to"] is None
        # later changes do not change what was decided then
        gateway.cli("access", "remove", "127.0.0.2", "--list", "deny")
        assert explain(gateway, ref) == found
        text = gateway.cli("explain", "ref", f"[ref {ref.lower()}]")
        assert "127.0.0.2" in text and "sends spam" in text and f"{found['reply']}" in text


def test_the_envelope_of_a_recipient_that_was_refused():
    with Postern(settings={"message_rules": {"permitted_relay": {"hosts": "specified"}}}) as gateway:
        with gateway.client() as client:
            client.hello("mx.example")
            client.says("MAIL FROM:<a@source.example>").expect(250)
            ref = reference(client.says("RCPT TO:<b@other.example>").expect(550, "5.7.1"))
        found = explain(gateway, ref)
        assert (found["helo"], found["command"]) == ("mx.example", "RCPT")
        assert (found["from"], found["to"]) == ("a@source.example", "b@other.example")
        assert found["rule"] == "relay domains" and found["tls"] is False


def test_limits_of_the_session_and_of_the_host_have_references_too():
    rules = {"max_recipients": 2, "max_messages_per_connection": 1, "max_message_size_mb": 1}
    with Sink() as sink:
        with Postern(
            sink,
            settings={
                "message_rules": {**rules, "relay_domains": ["example.com"]},
                "connections": {"interface": {"max_connections": 2}},
            },
        ) as gateway:
            rows = {}
            with gateway.client() as client, gateway.client():
                rows[refused(gateway, "127.0.0.1", 421)] = "simultaneous connections"
                client.hello()
                client.says("MAIL FROM:<a@source.example>").expect(250)
                client.says("RCPT TO:<b@example.com>").expect(250)
                client.says("RCPT TO:<c@example.com>").expect(250)
                # both in one write: each has its own
                client.sends(b"RCPT TO:<d@example.com>\r\nRCPT TO:<e@example.com>\r\n")
                for _ in range(2):
                    rows[reference(client.expect(452, "4.5.3"))] = "recipients per message"
                client.says("DATA").expect(354)
                client.sends(b"x" * 70 + b"\r\n")
                for _ in range(20):
                    client.sends((b"x" * 998 + b"\r\n") * 64)
                client.sends(b".\r\n")
                rows[reference(client.expect(552, "5.3.4"))] = "message size"
                ref = reference(
                    client.says("MAIL FROM:<a@source.example> SIZE=9999999").expect(552, "5.3.4")
                )
                rows[ref] = "message size"
                client.says("MAIL FROM:<a@source.example>").expect(250)
                client.says("RCPT TO:<b@example.com>").expect(250)
                client.says("DATA").expect(354)
                client.sends(b"Subject: x\r\n\r\nx\r\n.\r\n")
                client.expect(250)
                rows[reference(client.says("MAIL FROM:<a@source.example>").expect(421))] = (
                    "messages per connection"
                )
            assert len(rows) == 6
            for ref, rule in rows.items():
                assert explain(gateway, ref)["rule"] == rule


def test_references_outlive_a_kill_and_are_never_given_twice():
    with Postern(settings=DENY) as gateway:
        seen = {refused(gateway) for _ in range(5)}
        for ref in seen:  # all are stored, then
            explain(gateway, ref)
        for _ in range(3):
            gateway.kill()
            gateway.start(apply=False)
            for _ in range(3):
                ref = refused(gateway)
                assert ref not in seen
                seen.add(ref)
                explain(gateway, ref)
        for ref in seen:
            assert explain(gateway, ref)["comment"] == "a test"


def test_a_flood_is_sampled_and_what_was_not_kept_is_said():
    with Postern(settings=DENY) as gateway:
        refs = [refused(gateway) for _ in range(60)]
        assert len(set(refs)) == 60
        explain(gateway, refs[0])
        lost = gateway.cli("explain", "ref", refs[-1], status=1)
        assert "was given out between" in lost and "were not kept" in lost
        assert explainable(gateway, refs[19])  # twenty of a client in a minute
        numbers = read_metrics(gateway.api("GET", "/metrics")[1])
        assert numbers[("postern_refusals_kept_total", "")] >= 20
        assert numbers[("postern_refusals_not_kept_total", "")] >= 20


def test_an_unknown_and_a_mistyped_reference_get_a_clear_answer():
    with Postern(settings=DENY) as gateway:
        ref = refused(gateway)
        explain(gateway, ref)
        other = ref[:-1] + ("0" if ref[-1] != "0" else "1")
        error = gateway.cli("explain", "ref", other, status=1)
        assert "has given out no reference" in error or "were not kept" in error
        assert "XXXX-XXXX" in gateway.cli("explain", "ref", "nonsense", status=1)


def test_a_damaged_database_is_said_and_begun_anew_and_mail_flows():
    with Sink() as sink:
        with Postern(sink, settings={**DENY, "message_rules": {"relay_domains": ["example.com"]}}) as gateway:
            old = refused(gateway)
            explain(gateway, old)
            gateway.stop()
            database = gateway.state / "tracking" / "refusals.db"
            database.write_bytes(b"\xff" * 8192)
            gateway.process = None
            gateway.start(apply=False)
            assert (gateway.state / "tracking" / "refusals.db.damaged").exists()
            assert "was damaged" in gateway.log()
            assert gateway.cli("explain", "ref", old, status=1)
            new = refused(gateway)
            assert explain(gateway, new)["client"] == "127.0.0.2"
            connection = sqlite3.connect(database)
            assert connection.execute("SELECT count(*) FROM refusals").fetchone() == (1,)
            connection.close()


def test_a_folder_that_cannot_be_written_stands_in_the_status_and_not_in_the_way():
    with Sink() as sink:
        gateway = Postern(sink, settings={**DENY, "message_rules": {"relay_domains": ["example.com"]}}, start=False)
        with gateway:
            gateway.state.mkdir(exist_ok=True)
            (gateway.state / "tracking").write_text("no folder")
            gateway.start()
            ref = refused(gateway)
            assert gateway.cli("explain", "ref", ref, status=1)
            with gateway.client() as client:
                pass
            status = gateway.json("status")
            assert any("not kept" in w["text"] for w in status["warnings"])
            (gateway.state / "tracking").unlink()
            gateway.wait_until(
                lambda: not any(
                    "not kept" in w["text"]
                    for w in gateway.json("status")["warnings"]
                ),
                "kept again",
            )
            assert explain(gateway, refused(gateway))["comment"] == "a test"
