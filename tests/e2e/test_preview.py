"""What a draft of the settings would mean for the clients of the last days."""

import json

import pytest

from lib import Postern, Sink, run_postern

pytestmark = pytest.mark.asan

RELAY = {"message_rules": {"relay_domains": ["example.com"], "permitted_relay": {"hosts": "specified"}}}


def preview(gateway, patch: dict, **query) -> dict:
    status, answer = gateway.api(
        "POST", "/api/v1/connections/preview", patch, headers={"Content-Type": "application/json"}
    )
    assert status == 200, answer
    assert answer["dry_run"] is True
    return answer


def deny(*entries) -> dict:
    return {"connections": {"control": {"deny_list": list(entries)}}}


def seen(gateway, clients: int) -> None:
    gateway.wait_until(
        lambda: preview(gateway, {})["preview"]["clients"] == clients, f"{clients} clients are known"
    )


def addresses(side: dict) -> list[str]:
    return [row["client"] for row in side["items"]]


def test_who_would_be_refused_and_who_let_in_sorted_by_traffic():
    with Sink() as sink:
        with Postern(sink, settings={**RELAY, **deny({"network": "127.0.0.9", "comment": "old"})}) as gateway:
            for source, messages in (("127.0.0.2", 1), ("127.0.0.3", 3), ("127.0.0.4", 0)):
                with gateway.client(source=source) as client:
                    client.hello(f"h{source[-1]}.example")
                    for _ in range(messages):
                        client.delivers(b"Subject: x\r\n\r\nx\r\n", "a@source.example", "b@example.com")
                    client.says("QUIT").expect(221)
            with gateway.client(source="127.0.0.9", greeting=554):
                pass
            seen(gateway, 4)
            before = gateway.json("settings", "show")
            found = preview(gateway, deny({"network": "127.0.0.0/29", "comment": "new"}))["preview"]
            refused, let_in = found["refused"], found["let_in"]
            assert addresses(refused) == ["127.0.0.3", "127.0.0.2", "127.0.0.4"]
            assert (refused["clients"], refused["connections"], refused["messages"]) == (3, 3, 4)
            row = refused["items"][0]
            assert row["helo"] == "h3.example" and row["messages"] == 3
            assert (row["list"], row["entry"], row["comment"]) == ("deny", "127.0.0.0/29", "new")
            assert (row["rule"], row["code"], row["command"]) == ("connection control", 554, None)
            assert addresses(let_in) == ["127.0.0.9"]
            assert let_in["items"][0]["entry"] == "127.0.0.9"
            assert let_in["items"][0]["comment"] == "old"
            assert gateway.json("settings", "show") == before


def test_domains_and_sizes_are_asked_about_too():
    with Sink() as sink:
        with Postern(sink, settings=RELAY) as gateway:
            with gateway.client(source="127.0.0.2") as client:
                client.hello()
                client.delivers(b"x" * 900 + b"\r\n", "a@source.example", "b@example.com", "c@example.com")
                client.says("MAIL FROM:<a@source.example>").expect(250)
                client.says("RCPT TO:<b@other.example>").expect(550)
            seen(gateway, 1)
            # removing the domain refuses it there
            found = preview(gateway, {"message_rules": {"relay_domains": ["example.org"]}})["preview"]
            row = found["refused"]["items"][0]
            assert (row["command"], row["domain"], row["rule"]) == ("RCPT", "example.com", "relay domains")
            # what is refused today would go
            found = preview(
                gateway, {"message_rules": {"relay_domains": ["example.com", "other.example"]}}
            )["preview"]
            assert found["refused"]["clients"] == 0
            assert found["let_in"]["items"][0]["domain"] == "other.example"
            # two recipients of one message
            found = preview(gateway, {"message_rules": {"max_recipients": 1}})["preview"]
            assert found["refused"]["items"][0]["rule"] == "recipients per message"
            # nothing
            found = preview(gateway, {"identity": {"greeting": "hello"}})["preview"]
            assert found["refused"]["clients"] == found["let_in"]["clients"] == 0


def test_facts_outlive_a_restart_and_a_kill():
    with Postern() as gateway:
        for source in ("127.0.0.2", "127.0.0.3"):
            with gateway.client(source=source) as client:
                client.hello()
        seen(gateway, 2)
        gateway.kill()
        gateway.start(apply=False)
        with gateway.client(source="127.0.0.3") as client:
            client.hello()
        gateway.restart()
        found = preview(gateway, deny("127.0.0.2/31"))["preview"]
        assert addresses(found["refused"]) == ["127.0.0.3", "127.0.0.2"]
        assert found["refused"]["connections"] == 3


def test_the_command_line_tells_it_and_the_lock_out_loudly():
    with Postern() as gateway:
        with gateway.client(source="127.0.0.2") as client:
            client.hello("mx.example")
        seen(gateway, 1)
        draft = {**gateway.document, "connections": {**gateway.document["connections"], **deny("127.0.0.0/8", "::1")["connections"]}}
        path = gateway.write_document(draft)
        environment = {"SSH_CLIENT": "127.0.0.77 40000 22"}
        run = run_postern("settings", "apply", path, "--dry-run", state=gateway.state, environment=environment)
        assert "valid; nothing was changed" in run.stdout
        assert "would be refused: 1 client" in run.stdout and "mx.example" in run.stdout
        assert "entry 127.0.0.0/8 of deny" in run.stdout
        assert "THIS REFUSES 127.0.0.77" in run.stderr
        assert "THIS REFUSES EVERY CLIENT" in run.stderr
        answer = json.loads(
            run_postern("settings", "apply", path, "--dry-run", "--json", state=gateway.state).stdout
        )
        assert addresses(answer["preview"]["refused"]) == ["127.0.0.2"]
        assert not any("127.0.0.77" in w["detail"] for w in answer["warnings"])
        # saved all the same, with the warning
        status, answer = gateway.api("PUT", "/api/v1/settings", draft, headers={"Postern-Client": "127.0.0.5"})
        assert status == 200 and "preview" not in answer
        assert any("THIS REFUSES 127.0.0.5" in w["detail"] for w in answer["warnings"])
        with gateway.client(source="127.0.0.2", greeting=554):
            pass
        # who is refused already is not warned again
        status, answer = gateway.api("PATCH", "/api/v1/settings", deny("127.0.0.0/8"))
        assert status == 200 and not any("127.0.0.5" in w["detail"] for w in answer["warnings"])


def test_a_draft_that_is_wrong_is_refused_and_one_to_be_confirmed_is_shown():
    with Postern() as gateway:
        with gateway.client(source="127.0.0.2") as client:
            client.hello()
        seen(gateway, 1)
        status, answer = gateway.api("POST", "/api/v1/connections/preview", deny("nonsense"))
        assert status == 422 and answer["errors"][0]["pointer"].startswith("/connections/control")
        found = preview(gateway, {"connections": {"control": {"mode": "deny_all_except"}}})
        assert found["preview"]["refused"]["clients"] == 1
        assert found["preview"]["refused"]["items"][0]["list"] == "permit"
        assert gateway.json("settings", "history")["items"][0]["revision"] == found["revision"]
