"""What becomes of a message after its 250: delivered, deferred, bounced."""

import email
import email.policy

import pytest

from lib import CLOSE, RESET, Hop, Postern, Sink, free_port, make_message, split_trace

pytestmark = pytest.mark.asan


def send(gateway, *recipients, sender="a@source.example", content=None, parameters=""):
    with gateway.client() as client:
        client.hello()
        client.delivers(content or make_message(), sender, *recipients, parameters=parameters)


def parsed(message) -> email.message.EmailMessage:
    """What arrived, as Python's email package understands it; it must understand all of it."""
    mail = email.message_from_bytes(message.content, policy=email.policy.default)
    for part in mail.walk():
        assert not part.defects, part.defects
    return mail


def bounce_of(hop) -> email.message.EmailMessage:
    return parsed(next(m for m in hop.messages if m.reverse_path == ""))


def status_fields(mail) -> list[dict]:
    """The groups of fields of a delivery status: that of the message, then one a recipient."""
    report = next(
        part for part in mail.walk() if part.get_content_type() == "message/delivery-status"
    )
    return [dict(group.items()) for group in report.get_payload()]


def deferred(gateway, count=1):
    """Waits until so many messages were tried and put off."""

    def tried():
        items = gateway.queue()
        open_states = {r["state"] for m in items for r in m["recipients"]} - {"delivered", "failed"}
        return items if len(items) == count and open_states <= {"deferred", "in_doubt"} else None

    return gateway.wait_until(tried, f"{count} deferred")


def test_a_recipient_refused_for_good_is_bounced():
    refusal = "550 5.1.1 no such user here"
    with Hop({"RCPT": lambda hop, line: refusal if "nobody" in line else None}) as hop, Postern(
        hop
    ) as gateway:
        original = make_message("to be returned")
        send(gateway, "nobody@sink.example", "b@sink.example", content=original)
        hop.wait_for(2)
        gateway.settle()
        delivered = next(m for m in hop.messages if m.reverse_path)
        assert delivered.recipients == ["b@sink.example"]
        raw = next(m for m in hop.messages if not m.reverse_path)
        assert raw.recipients == ["a@source.example"]
        assert max(
            map(len, raw.content.split(b"\r\n"))
        ) <= 998 and b"\n" not in raw.content.replace(b"\r\n", b"")

        bounce = bounce_of(hop)
        assert bounce.get_content_type() == "multipart/report"
        assert bounce.get_param("report-type") == "delivery-status"
        assert bounce["Auto-Submitted"].startswith("auto-replied")
        assert bounce["To"] and "a@source.example" in bounce["To"]
        assert bounce["From"] and bounce["Subject"] and bounce["Date"] and bounce["Message-ID"]
        kinds = [part.get_content_type() for part in bounce.iter_parts()]
        assert kinds[:2] == ["text/plain", "message/delivery-status"]
        assert kinds[2] in ("message/rfc822", "text/rfc822-headers")
        text = bounce.get_body(("plain",)).get_content()
        assert "nobody@sink.example" in text and "no such user here" in text

        of_message, *of_recipients = status_fields(bounce)
        assert of_message["Reporting-MTA"].replace(" ", "") == "dns;gw.example"
        assert len(of_recipients) == 1
        fields = of_recipients[0]
        assert fields["Final-Recipient"].replace(" ", "") == "rfc822;nobody@sink.example"
        assert fields["Action"] == "failed"
        assert fields["Status"] == "5.1.1"
        assert (
            fields["Diagnostic-Code"].split(";")[0].strip() == "smtp"
            and refusal in fields["Diagnostic-Code"]
        )
        assert "Remote-MTA" in fields
        returned = list(bounce.iter_parts())[2].get_content()
        assert "to be returned" in str(returned)


def test_a_null_reverse_path_gets_no_bounce():
    with Hop({"RCPT": "550 5.1.1 no"}) as hop, Postern(hop) as gateway:
        send(gateway, "nobody@sink.example", sender="")
        gateway.settle()
        assert hop.messages == [] and hop.steps.count("MAIL") == 1


def test_a_bounce_that_cannot_be_delivered_makes_no_other():
    with Hop({"RCPT": "550 5.1.1 no"}) as hop, Postern(hop) as gateway:
        send(gateway, "nobody@sink.example")
        hop.wait_for_step("MAIL", 2)
        gateway.settle()
        assert hop.messages == [] and hop.steps.count("MAIL") == 2


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."])
def test_a_temporary_refusal_at_any_step_defers_and_a_retry_delivers(step):
    answer = "421 4.3.2 not now" if step == "CONNECT" else "451 4.3.0 not now"
    with Hop({step: answer}) as hop, Postern(hop) as gateway:
        message = make_message(f"deferred at {step}")
        send(gateway, content=message)
        item = deferred(gateway)[0]
        if step == "EHLO":
            assert hop.steps.count("MAIL") == 0
        assert "not now" in str(gateway.json("queue", "show", item["id"]))
        hop.answers.clear()
        gateway.cli("queue", "retry", "--all")
        gateway.settle()
        assert [split_trace(m.content)[1] for m in hop.messages] == [message]


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "."])
def test_a_permanent_refusal_at_any_step_bounces(step):
    with Hop(
        {step: lambda hop, line: "554 5.7.9 never" if hop.steps.count("MAIL") == 1 else None}
    ) as hop, Postern(hop) as gateway:
        send(gateway, "b@sink.example", "c@sink.example")
        hop.wait_for(1)
        gateway.settle()
        _, *recipients = status_fields(bounce_of(hop))
        assert len(hop.messages) == 1
        assert [(fields["Status"], fields["Action"]) for fields in recipients] == [
            ("5.7.9", "failed")
        ] * 2


@pytest.mark.parametrize("act", [CLOSE, RESET], ids=repr)
@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_connection_lost_before_the_end_of_data_defers(step, act):
    with Hop({step: act}) as hop, Postern(hop) as gateway:
        send(gateway)
        deferred(gateway)
        hop.answers.clear()
        gateway.cli("queue", "retry", "--all")
        gateway.settle()
        assert len(hop.messages) == 1


def test_a_connection_lost_after_the_final_dot_leaves_the_message_in_doubt():
    with Hop({".": CLOSE}) as hop, Postern(hop) as gateway:
        send(gateway)
        item = gateway.wait_until(
            lambda: next(
                (m for m in gateway.queue() if m["recipients"][0]["state"] == "in_doubt"), None
            ),
            "in doubt",
        )
        assert item["recipients"][0]["attempts"] == 1
        hop.answers.clear()
        gateway.cli("queue", "retry", item["id"])
        gateway.settle()
        assert len(hop.messages) == 1


def test_each_recipient_has_a_fate_of_its_own():
    def by_name(hop, line):
        return {"later": "450 4.2.1 busy", "never": "550 5.1.1 no"}.get(
            line.split("<")[1].split("@")[0]
        )

    with Hop({"RCPT": by_name}) as hop, Postern(hop) as gateway:
        send(gateway, "now@sink.example", "later@sink.example", "never@sink.example")
        item = deferred(gateway)[0]
        states = {r["address"]: r["state"] for r in item["recipients"]}
        assert states["later@sink.example"] == "deferred"
        assert states.get("now@sink.example", "delivered") == "delivered"
        assert states.get("never@sink.example", "failed") == "failed"
        hop.answers.clear()
        gateway.cli("queue", "retry", item["id"])
        hop.wait_for(3)
        gateway.settle()
        mail = [m for m in hop.messages if m.reverse_path]
        assert sorted(r for m in mail for r in m.recipients) == [
            "later@sink.example",
            "now@sink.example",
        ]
        _, *bounced = status_fields(bounce_of(hop))
        assert [f["Final-Recipient"].split(";")[1].strip() for f in bounced] == [
            "never@sink.example"
        ]


def test_a_next_hop_that_is_down_is_tried_again_when_asked():
    port = free_port()
    with Postern(port) as gateway:
        for number in range(20):
            send(gateway, content=make_message(f"number {number}"))
        deferred(gateway, 20)
        with Sink(port) as sink:
            gateway.cli("queue", "retry", "--all")
            assert len(sink.wait_for(20)) == 20
            gateway.settle()


def test_the_second_next_hop_serves_while_the_first_is_down():
    for answers in (
        None,
        {"CONNECT": "421 4.3.2 busy"},
        {"CONNECT": "554 5.3.2 closed"},
        {"EHLO": CLOSE},
    ):
        with Hop(answers) as first, Hop() as second:
            hops = (free_port() if answers is None else first, second)
            with Postern(*hops) as gateway:
                send(gateway)
                second.wait_for(1)
                gateway.settle()
                assert first.messages == []


def test_eight_bit_content_is_not_sent_to_a_next_hop_that_cannot_take_it():
    with Hop(extensions=("PIPELINING", "ENHANCEDSTATUSCODES")) as hop, Postern(hop) as gateway:
        send(gateway, content="Subject: x\r\n\r\nGrüße\r\n".encode(), parameters=" BODY=8BITMIME")
        hop.wait_for(1)
        gateway.settle()
        assert [m.reverse_path for m in hop.messages] == [""]
        assert hop.messages[0].content.isascii()
        assert status_fields(bounce_of(hop))[1]["Status"] == "5.6.3"


def test_seven_bit_content_goes_to_any_next_hop():
    with Hop(extensions=()) as hop, Postern(hop) as gateway:
        send(gateway, parameters=" BODY=8BITMIME")
        hop.wait_for(1)
        gateway.settle()
        assert hop.messages[0].mail_parameters == []


def test_a_next_hop_that_knows_only_helo_is_served():
    with Hop({"EHLO": "502 5.5.1 what?"}) as hop, Postern(hop) as gateway:
        message = make_message(body=b".\r\n..\r\n")
        send(gateway, content=message)
        hop.wait_for(1)
        gateway.settle()
        assert split_trace(hop.messages[0].content)[1] == message
        assert "HELO" in hop.steps


def test_a_utf8_address_is_not_sent_to_a_next_hop_that_cannot_take_it():
    with Hop(extensions=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")) as hop, Postern(
        hop
    ) as gateway:
        send(gateway, "δοκιμή@sink.example", parameters=" SMTPUTF8")
        hop.wait_for(1)
        gateway.settle()
        assert [m.reverse_path for m in hop.messages] == [""]
        assert status_fields(bounce_of(hop))[1]["Status"] == "5.6.7"


def test_a_utf8_address_goes_to_a_next_hop_that_can_take_it():
    with Hop() as hop, Postern(hop) as gateway:
        addresses = ("δοκιμή@sink.example", "jörg@source.example")
        send(gateway, addresses[0], sender=addresses[1], parameters=" SMTPUTF8")
        hop.wait_for(1)
        gateway.settle()
        message = hop.messages[0]
        assert (*message.recipients, message.reverse_path) == addresses
        assert "SMTPUTF8" in message.mail_parameters


def test_envelope_parameters_go_on_to_a_next_hop_that_offers_them():
    with Hop() as hop, Postern(hop) as gateway:
        with gateway.client() as client:
            client.hello()
            client.says("MAIL FROM:<a@source.example> RET=HDRS ENVID=QQ314 BODY=8BITMIME").expect(
                250
            )
            client.says(
                "RCPT TO:<b@sink.example> NOTIFY=FAILURE ORCPT=rfc822;orig@sink.example"
            ).expect(250)
            client.says("DATA").expect(354)
            client.sends_message(make_message()).expect(250)
        hop.wait_for(1)
        gateway.settle()
        message = hop.messages[0]
        assert {"RET=HDRS", "ENVID=QQ314", "BODY=8BITMIME"} <= set(message.mail_parameters)
        assert any(p.startswith("SIZE=") for p in message.mail_parameters)
        assert message.rcpt_parameters == [["NOTIFY=FAILURE", "ORCPT=rfc822;orig@sink.example"]]


def test_quoted_local_parts_and_literals_arrive_as_they_were():
    addresses = [
        '"a b>c"@sink.example',
        r'"q\"q"@sink.example',
        "b@[192.0.2.1]",
        "UPPER@Sink.Example",
    ]
    with Hop() as hop, Postern(hop) as gateway:
        send(gateway, *addresses)
        hop.wait_for(1)
        gateway.settle()
        assert sorted(r for m in hop.messages for r in m.recipients) == sorted(addresses)


def test_connections_are_kept_for_many_messages():
    with Hop() as hop, Postern(hop) as gateway:
        with gateway.client() as client:
            client.hello()
            for number in range(200):
                client.delivers(make_message(f"number {number}"))
        hop.wait_for(200)
        gateway.settle()
        assert hop.sessions <= 40, f"{hop.sessions} connections for 200 messages"


def test_a_hostile_reply_of_a_next_hop_is_tamed_in_the_bounce():
    nasty = "550 5.1.1 \x1b[31mred \x7f" + "x" * 480
    with Hop({"RCPT": lambda hop, line: nasty if "nobody" in line else None}) as hop, Postern(
        hop
    ) as gateway:
        send(gateway, "nobody@sink.example")
        hop.wait_for(1)
        gateway.settle()
        content = hop.messages[0].content
        assert not any(octet in content for octet in (b"\x1b", b"\0", b"\x7f"))
        assert max(map(len, content.split(b"\r\n"))) <= 998
        bounce_of(hop)
        assert b"\x1b" not in gateway.log_octets()


def test_a_next_hop_that_never_ends_its_reply_is_left():
    def endless(hop, line):
        return "\r\n".join(["250-and so on"] * 20_000)

    with Hop({"EHLO": endless}) as hop, Hop() as second, Postern(hop, second) as gateway:
        send(gateway)
        second.wait_for(1)
        gateway.settle()
