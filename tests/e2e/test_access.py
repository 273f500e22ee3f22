"""Who may connect, and who may send where."""

import re

import pytest

from lib import ConversationError, Outside, Postern, Sink, make_message

pytestmark = pytest.mark.asan


def test_the_deny_list_refuses_in_place_of_the_greeting():
    with Postern(
        settings={"connections": {"control": {"deny_list": ["127.0.0.64/26"]}}}
    ) as gateway:
        for source in ("127.0.0.64", "127.0.0.127"):
            with gateway.client(source=source, greeting=None) as client:
                client.expect(554, "5.7.1")
                client.expect_closed()
        for source in ("127.0.0.1", "127.0.0.63", "127.0.0.128"):
            with gateway.client(source=source) as client:
                client.hello()


def test_who_is_refused_gets_the_reply_whatever_he_has_sent_already():
    with Postern(settings={"connections": {"control": {"deny_list": ["127.0.0.2"]}}}) as gateway:
        for _ in range(20):
            with gateway.client(source="127.0.0.2", greeting=None) as client:
                client.sends(b"EHLO impatient.example\r\nMAIL FROM:<a@source.example>\r\n" * 20)
                client.expect(554, "5.7.1")


def test_a_refusal_ends_in_a_reference_that_the_log_has_too():
    control = {"deny_list": ["127.0.0.2"]}
    with Postern(settings={"connections": {"control": control}}) as gateway:
        references = set()
        for _ in range(3):
            with gateway.client(source="127.0.0.2", greeting=None) as client:
                text = client.expect(554, "5.7.1").text
                found = re.search(r" \[ref ([0-9A-Z]{4}-[0-9A-Z]{4})\]$", text.strip())
                assert found, text
                references.add(found[1])
        assert len(references) == 3
        gateway.wait_until(
            lambda: all(f'"ref":"{ref}"' in gateway.log() for ref in references), "logged"
        )


def test_deny_all_except_lets_in_the_permit_list_alone():
    control = {
        "mode": "deny_all_except",
        "deny_list": ["127.0.0.3"],
        "permit_list": ["127.0.0.3", "127.0.0.4:255.255.255.254"],
    }
    with Postern(settings={"connections": {"control": control}}) as gateway:
        for source, code in (
            ("127.0.0.3", 220),
            ("127.0.0.4", 220),
            ("127.0.0.5", 220),
            ("127.0.0.1", 554),
        ):
            with gateway.client(source=source, greeting=code):
                pass


def test_one_connection_too_many_is_told_so_and_the_others_stay():
    with Postern(settings={"connections": {"interface": {"max_connections": 3}}}) as gateway:
        clients = [gateway.client() for _ in range(3)]
        for _ in range(5):
            with gateway.client(greeting=None) as surplus:
                surplus.expect(421, "4.3.2")
                surplus.expect_closed()
        for client in clients:
            client.hello()
        for _ in range(50):  # a place is free before its client can see the close
            clients[0].says("QUIT").expect(221)
            clients[0].expect_closed()
            clients[0] = gateway.client()


def test_refused_clients_take_no_place():
    settings = {
        "connections": {
            "interface": {"max_connections": 2},
            "control": {"deny_list": ["127.0.0.2"]},
        }
    }
    with Postern(settings=settings) as gateway:
        first = gateway.client()
        refused = [gateway.client(source="127.0.0.2", greeting=554) for _ in range(10)]
        second = gateway.client()
        first.hello()
        second.hello()
        for client in refused:
            client.close()


def test_an_outsider_may_send_to_the_relay_domains_alone(root):
    with Outside() as outside, Sink() as sink, Postern(
        sink,
        settings={
            "connections": {"interface": {"address": "all"}},
            "message_rules": {"relay_domains": ["ours.example", "*.under.example"]},
        },
    ) as gateway:
        with outside.client(gateway.port) as client:
            client.hello()
            client.says("MAIL FROM:<a@source.example>").expect(250)
            client.says("RCPT TO:<b@sink.example>").expect(550, "5.7.1")
            client.says("RCPT TO:<b@under.example>").expect(550, "5.7.1")
            client.says("RCPT TO:<b@notours.example>").expect(550, "5.7.1")
            client.says("RCPT TO:<b%sink.example@ours.example>").reply()
            client.says("RSET").expect(250)
            client.delivers(
                make_message(), "a@source.example", "b@OURS.example", "c@deep.under.example"
            )
        with gateway.client() as client:  # this host may send anywhere
            client.hello()
            client.delivers(make_message(), "a@source.example", "b@sink.example")
        gateway.settle()
        recipients = [recipient for message in sink.messages for recipient in message.recipients]
        assert sorted(recipients) == ["b@OURS.example", "b@sink.example", "c@deep.under.example"]


def test_permitted_networks_may_send_anywhere(root):
    with Outside() as outside, Postern(
        settings={
            "connections": {"interface": {"address": outside.host}},
            "message_rules": {
                "permitted_relay": {"hosts": "specified", "networks": [f"{outside.address}/32"]}
            },
        }
    ) as gateway:
        with outside.client(gateway.port) as client:
            client.hello()
            client.says("MAIL FROM:<a@source.example>").expect(250)
            client.says("RCPT TO:<b@sink.example>").expect(250)
        with pytest.raises(OSError):
            gateway.client()  # nobody listens on loopback


def test_a_permit_entry_lets_connect_and_not_relay(root):
    with Outside() as outside, Postern(
        settings={
            "connections": {
                "interface": {"address": "all"},
                "control": {"mode": "deny_all_except", "permit_list": [outside.address]},
            }
        }
    ) as gateway:
        with outside.client(gateway.port) as client:
            client.hello()
            client.says("MAIL FROM:<a@source.example>").expect(250)
            client.says("RCPT TO:<b@sink.example>").expect(550, "5.7.1")
        with gateway.client(greeting=None) as client:  # loopback has no hidden exception
            client.expect(554, "5.7.1")


@pytest.mark.slow
def test_a_silent_client_is_told_and_let_go():
    with Postern(settings={"connections": {"interface": {"idle_timeout_minutes": 1}}}) as gateway:
        silent = gateway.client(timeout=90)
        in_data = gateway.client(timeout=90)
        in_data.hello()
        in_data.starts_data().sends(b"Subject: never\r\n\r\nhalf a li")
        mute = gateway.client(timeout=90)
        mute.sends(b"NOO")
        for client in (silent, mute, in_data):
            client.expect(421, "4.4.2")
            client.expect_closed()
        with pytest.raises(ConversationError):
            silent.says("NOOP").expect(250)
        assert gateway.queue() == []
