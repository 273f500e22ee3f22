"""What senders hear of their messages (RFC 3461), read strictly (RFC 3464)."""

import peers
import pytest

from lib import Clock, Hop, Postern, free_port, make_message, read_notice, temporary_folder

WITHOUT_DSN = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


def send(gateway, *recipients: str, mail: str = "", content: bytes | None = None, sender="a@source.example"):
    """Each recipient with its parameters: "b@sink.example NOTIFY=SUCCESS"."""
    with gateway.client() as client:
        client.hello()
        client.says(f"MAIL FROM:<{sender}>{mail and ' ' + mail}").expect(250)
        for recipient in recipients:
            address, _, parameters = recipient.partition(" ")
            client.says(f"RCPT TO:<{address}>{parameters and ' ' + parameters}").expect(250)
        client.says("DATA").expect(354)
        client.sends_message(content or make_message(headers=b"Message-ID: <1@source.example>\r\n"))
        client.expect(250)


def notices(hop) -> list:
    return [m for m in hop.messages if m.reverse_path == ""]


def refuse(hop, line):
    return "550 5.1.1 <nobody>: no such user" if "nobody" in line else None


# ---- failed ----


@pytest.mark.asan
def test_a_failure_field_by_field():
    with Hop({"RCPT": refuse}) as hop, Postern(hop) as gateway:
        send(
            gateway,
            "nobody@sink.example NOTIFY=FAILURE ORCPT=rfc822;old+2Bbox@sink.example",
            mail="ENVID=QQ+3D314 RET=FULL",
        )
        hop.wait_for(1)
        gateway.settle()
        notice = read_notice(hop.messages[0], to="a@source.example")
    assert notice.mail["Subject"] == "Undeliverable: your message to nobody@sink.example"
    assert notice.mail["In-Reply-To"] == "<1@source.example>"
    assert notice.message["Reporting-MTA"] == "dns; gw.example"
    assert notice.message["Original-Envelope-Id"] == "QQ=314"
    assert notice.message["Received-From-MTA"] == "dns; client.example ([127.0.0.1])"
    assert "Arrival-Date" in notice.message
    (fields,) = notice.recipients
    assert fields.pop("Last-Attempt-Date")
    assert fields == {
        "Original-Recipient": "rfc822; old+box@sink.example",
        "Final-Recipient": "rfc822; nobody@sink.example",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; [127.0.0.1]",
        "Diagnostic-Code": "smtp; 550 5.1.1 <nobody>: no such user",
    }
    assert notice.returned_type == "message/rfc822" and "Hello." in notice.returned


@pytest.mark.asan
@pytest.mark.parametrize(
    "ret, size, kind",
    [
        ("", 100, "message/rfc822"),
        ("RET=HDRS", 100, "text/rfc822-headers"),
        ("RET=FULL", 300_000, "message/rfc822"),
        ("RET=FULL", 3_000_000, "text/rfc822-headers"),
        ("", 300_000, "text/rfc822-headers"),
    ],
)
def test_what_is_returned(ret, size, kind):
    body = b"0123456789" * 7 + b"\r\n"
    with Hop({"RCPT": refuse}) as hop, Postern(hop) as gateway:
        send(gateway, "nobody@sink.example", mail=ret, content=make_message(body=body * (size // 72)))
        hop.wait_for(1)
        gateway.settle()
        notice = read_notice(hop.messages[0])
    assert notice.returned_type == kind
    assert "Subject: a test" in notice.returned
    assert (body.decode() in notice.returned) == (kind == "message/rfc822")


@pytest.mark.asan
@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS", "DELAY", "SUCCESS,DELAY"])
def test_who_does_not_want_to_hear_of_failures_does_not(notify):
    with Hop({"RCPT": refuse}) as hop, Postern(hop) as gateway:
        send(gateway, f"nobody@sink.example NOTIFY={notify}")
        hop.wait_for_step("RCPT")
        gateway.settle()
        assert hop.messages == [] and hop.steps.count("MAIL") == 1


@pytest.mark.asan
def test_addresses_beyond_ascii_give_a_global_report():
    with Hop({"RCPT": lambda hop, line: "550 5.1.1 nein" if "ü" in line else None}) as hop, Postern(
        hop
    ) as gateway:
        send(gateway, "grüße@sink.example ORCPT=utf-8;jörg@sink.example", mail="SMTPUTF8")
        hop.wait_for(1)
        gateway.settle()
        notice = read_notice(hop.messages[0])
    assert notice.recipients[0]["Final-Recipient"] == "utf-8; grüße@sink.example"
    assert notice.recipients[0]["Original-Recipient"] == "utf-8; jörg@sink.example"
    assert "grüße@sink.example" in notice.text


@pytest.mark.asan
@pytest.mark.parametrize(
    "reply",
    [
        "550 5.1.1 \x1b]0;pwned\x07 \x7f\u0085\u202e",
        "550 " + "x" * 500,
        "550-5.1.1 one\r\n550-5.1.1 Action: delivered\r\n550 5.1.1 --=_x",
        "550 5.1.1 " + "= ?" * 150,
        b"550 5.1.1 \xff\xfe\xc3",
        "550",
    ],
)
def test_a_hostile_reply_is_words_and_nothing_else(reply):
    text = reply.decode("latin-1") if isinstance(reply, bytes) else reply
    with Hop({"RCPT": lambda hop, line: text if "nobody" in line else None}) as hop, Postern(
        hop
    ) as gateway:
        send(gateway, "nobody@sink.example")
        hop.wait_for(1)
        gateway.settle()
        notice = read_notice(hop.messages[0])
    (fields,) = notice.recipients
    assert fields["Action"] == "failed"
    assert len(fields["Diagnostic-Code"]) < 600


# ---- relayed ----


@pytest.mark.asan
def test_success_is_told_where_the_next_hop_sends_no_notices():
    with Hop(extensions=WITHOUT_DSN) as hop, Postern(hop) as gateway:
        send(
            gateway,
            "b@sink.example NOTIFY=SUCCESS,FAILURE",
            "c@sink.example NOTIFY=FAILURE",
            "d@sink.example",
            mail="ENVID=E1 RET=FULL",
        )
        hop.wait_for(2)
        gateway.settle()
        assert len(hop.messages) == 2
        assert hop.messages[0].rcpt_parameters == [[], [], []]
        notice = read_notice(notices(hop)[0], to="a@source.example")
    (fields,) = notice.recipients
    assert fields["Final-Recipient"] == "rfc822; b@sink.example"
    assert (fields["Action"], fields["Status"][0]) == ("relayed", "2")
    assert notice.message["Original-Envelope-Id"] == "E1"
    assert notice.returned_type == "text/rfc822-headers"  # RFC 3461 4.3: nothing failed
    assert notice.mail["Subject"] == "Passed on: your message to b@sink.example"


@pytest.mark.asan
def test_success_is_passed_on_to_a_next_hop_that_offers_dsn():
    with Hop() as hop, Postern(hop) as gateway:
        send(
            gateway,
            "b@sink.example NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@sink.example",
            "c@sink.example NOTIFY=NEVER",
            "d@sink.example",
            mail="RET=HDRS ENVID=a+2Bb",
        )
        hop.wait_for(1)
        gateway.settle()
        (message,) = hop.messages
    assert {"RET=HDRS", "ENVID=a+2Bb"} <= set(message.mail_parameters)
    assert message.rcpt_parameters == [
        ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;x+2By@sink.example"],
        ["NOTIFY=NEVER"],
        [],
    ]


@pytest.mark.slow
def test_a_real_postfix_is_handed_the_wish_and_tells_success(root):
    """Postfix offers DSN: it reports the delivery itself, to where it takes mail."""
    with temporary_folder() as folder:
        folder.chmod(0o755)
        with peers.Postfix(folder / "postfix", 0, maildir=True) as postfix, Postern(
            postfix
        ) as gateway:
            send(gateway, "b@sink.example NOTIFY=SUCCESS", mail="ENVID=to-postfix")
            gateway.settle()
            inbox = postfix.maildir / "all" / "new"

            def arrived():
                mails = [p.read_bytes() for p in inbox.iterdir()] if inbox.is_dir() else []
                return mails if len(mails) == 2 else None

            mails = gateway.wait_until(arrived, "the message and Postfix's notice")
            (report,) = [m for m in mails if b"multipart/report" in m]
            assert b"Original-Envelope-Id: to-postfix" in report
            assert b"Action: delivered" in report and b"postfix.example" in report
            assert not any(b"From: Mail Delivery System <MAILER-DAEMON@gw.example>" in m for m in mails)


# ---- delayed ----


def deferred(gateway, count=1):
    return gateway.wait_until(
        lambda: len([m for m in gateway.queue() if m["recipients"][0]["state"] == "deferred"])
        == count,
        "deferred",
    )


def busy(hop, line):
    return "450 4.2.1 mailbox busy" if "busy" in line else None


@pytest.mark.slow
def test_a_delay_is_told_once_and_a_restart_neither_repeats_nor_forgets_it():
    with Clock() as clock, Hop({"RCPT": busy}) as hop, Postern(hop) as gateway:
        send(
            gateway,
            "busy1@sink.example",
            "busy2@sink.example NOTIFY=DELAY",
            "busy3@sink.example NOTIFY=FAILURE",
        )
        deferred(gateway)
        assert hop.messages == []
        clock.advance(hours=4)
        hop.wait_for(1)
        notice = read_notice(hop.messages[0], to="a@source.example")
        assert [f["Final-Recipient"].split("; ")[1] for f in notice.recipients] == [
            "busy1@sink.example",
            "busy2@sink.example",
        ]
        for fields in notice.recipients:
            assert (fields["Action"], fields["Status"]) == ("delayed", "4.2.1")
            assert fields["Diagnostic-Code"] == "smtp; 450 4.2.1 mailbox busy"
        assert notice.mail["Subject"] == "Delayed, still being tried: your message to 2 recipients"
        assert notice.returned_type == "text/rfc822-headers"

        gateway.restart()
        clock.advance(hours=2)
        before = hop.steps.count("RCPT")
        hop.wait_for_step("RCPT", before + 3)  # it was tried again
        deferred(gateway)
        assert len(hop.messages) == 1

        clock.advance(hours=24 * 5)  # and given up
        hop.wait_for(2)
        gateway.settle()
        last = read_notice(hop.messages[1])
        assert len(hop.messages) == 2
        assert [f["Final-Recipient"].split("; ")[1] for f in last.recipients] == [
            "busy1@sink.example",
            "busy3@sink.example",
        ]
        for fields in last.recipients:
            assert (fields["Action"], fields["Status"]) == ("failed", "4.4.7")
            assert fields["Diagnostic-Code"] == "smtp; 450 4.2.1 mailbox busy"


@pytest.mark.slow
def test_a_delay_is_told_while_the_next_hop_is_down():
    """The notice waits too; nothing makes a notice of a notice."""
    port = free_port()
    with Clock() as clock, Postern(port) as gateway:
        send(gateway, "b@sink.example")
        send(gateway, "c@sink.example", sender="")
        deferred(gateway, 2)
        clock.advance(hours=4.5)
        gateway.wait_until(lambda: len(gateway.queue()) == 3, "the notice is queued")
        clock.advance(hours=10)
        with Hop(port=port) as hop:
            gateway.cli("queue", "retry", "--all")
            hop.wait_for(3)
            gateway.settle()
            assert len(hop.messages) == 3
            notice = read_notice(
                next(m for m in hop.messages if m.recipients == ["a@source.example"])
            )
        (fields,) = notice.recipients
        assert (fields["Action"], fields["Status"]) == ("delayed", "4.4.1")
        assert "efused" in fields["Diagnostic-Code"]


@pytest.mark.slow
def test_a_held_message_is_not_late():
    with Clock() as clock, Hop({"RCPT": busy}) as hop, Postern(hop) as gateway:
        send(gateway, "busy@sink.example")
        deferred(gateway)
        gateway.cli("queue", "hold", "--all")
        send(gateway, "busy@sink.example", sender="other@source.example")
        clock.advance(hours=5)
        hop.wait_for(1)  # of the other one
        assert hop.messages[0].recipients == ["other@source.example"]
        gateway.cli("queue", "release", "--all")
        hop.wait_for(2)
        assert hop.messages[1].recipients == ["a@source.example"]


def test_the_settings_can_say_that_nobody_is_told():
    settings = {"delivery": {"retry": {"delay_notice_after_minutes": 0, "give_up_after_hours": 12}}}
    with Clock() as clock, Hop({"RCPT": busy}) as hop, Postern(hop, settings=settings) as gateway:
        send(gateway, "busy@sink.example")
        deferred(gateway)
        clock.advance(hours=13)
        hop.wait_for(1)
        gateway.settle()
        (fields,) = read_notice(hop.messages[0]).recipients
        assert (fields["Action"], fields["Status"]) == ("failed", "4.4.7")


# ---- an administrator's bounce ----


@pytest.mark.asan
def test_an_administrator_gives_a_message_back():
    with Hop({"RCPT": busy}) as hop, Postern(hop) as gateway:
        send(gateway, "busy1@sink.example", "busy2@sink.example")
        deferred(gateway)
        gateway.cli("queue", "bounce", "--all")
        hop.wait_for(1)
        gateway.settle()
        notice = read_notice(hop.messages[0])
        assert len(hop.messages) == 1 and len(notice.recipients) == 2
        assert notice.recipients[0]["Status"] == "5.0.0"
        words = " ".join(notice.text.split())
        assert "Given up by the administrator of this mail system" in words
        assert "The last answer was: 450 4.2.1 mailbox busy" in words
