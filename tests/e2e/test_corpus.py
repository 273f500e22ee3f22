"""Real mail and hard mail: under one trace header, what comes out is what went in."""

import smtplib
import subprocess

import corpus
import peers
import pytest

from lib import Postern, Sink, split_trace, temporary_folder

SHARES = 4  # so that two workers, or four, have equal parts


def send_kept(port: int, messages, per_connection: int = 50):
    """Sends by smtplib, many messages a connection; yields (message, reply code)."""
    client = None
    for number, message in enumerate(messages):
        if client is None:
            client = smtplib.SMTP("127.0.0.1", port, local_hostname="corpus.example", timeout=30)
            client.ehlo()
        options = ["BODY=8BITMIME"] if not message.wire.isascii() else []
        client.mail(f"m{number}@source.example", options)
        client.rcpt("b@sink.example")
        code, text = client.docmd("DATA")
        assert code == 354, text
        stuffed = (b"." if message.wire.startswith(b".") else b"") + message.wire.replace(
            b"\r\n.", b"\r\n.."
        )
        client.send(stuffed + b".\r\n")
        try:
            code, text = client.getreply()
        except smtplib.SMTPServerDisconnected:
            code = 0
        yield number, message, code
        if code != 250 or number % per_connection == per_connection - 1:
            client.close()
            client = None
    if client is not None:
        client.quit()


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_every_message_of_the_corpus_arrives_octet_for_octet(share):
    refused, sent = [], {}
    with Sink() as sink, Postern(sink) as gateway:
        for number, message, code in send_kept(gateway.port, corpus.messages(SHARES, share)):
            if code == 250:
                sent[f"m{number}@source.example"] = message
            else:
                refused.append((message, code))
        arrived = sink.wait_for(len(sent), 60)
        gateway.settle()
    assert [(m.name, code) for m, code in refused] == [
        (m.name, 554) for m in corpus.messages(SHARES, share) if m.has_nul
    ]
    assert len(arrived) == len(sent)
    for message in arrived:
        original = sent.pop(message.reverse_path)
        assert split_trace(message.content)[1] == original.wire, original.name


def test_the_corpus_is_whole_and_has_what_makes_it_hard():
    everything = list(corpus.messages())
    assert len(everything) >= 6000
    assert sum(m.is_8bit for m in everything) > 400
    assert sum(m.longest_line > 998 for m in everything) > 20
    assert sum(m.wire.startswith(b"From ") for m in everything) > 1000


def long_line(octets: int) -> bytes:
    return b"Subject: long\r\n\r\n" + b"x" * octets + b"\r\n"


HARD = {
    "lines of 998 and 999 octets": b"Subject: x\r\n\r\n"
    + b"y" * 998
    + b"\r\n"
    + b"z" * 999
    + b"\r\n",
    "a line of 1 KB": long_line(1 << 10),
    "a line of 4 KB": long_line(4 << 10),
    "a line of 4 KB less 1": long_line((4 << 10) - 1),
    "a line of 16 KB and 1": long_line((16 << 10) + 1),
    "a line of 64 KB": long_line(64 << 10),
    "a line of 1 MB": long_line(1 << 20),
    "a header line of 100 KB": b"Subject: " + b"h" * 100_000 + b"\r\n\r\nbody\r\n",
    "a header of 300 KB in folded lines": b"X-Long:"
    + b"".join(b" part%d\r\n" % n for n in range(30_000))
    + b"\r\nbody\r\n",
    "20,000 header fields": b"".join(b"X-%d: value\r\n" % n for n in range(20_000))
    + b"\r\nbody\r\n",
    "dots everywhere": b"Subject: .\r\n\r\n"
    + b"\r\n".join(b". .. ... .a ..a a. . . .".split())
    + b"\r\n",
    "a dot first": b".Subject: x\r\n\r\nbody\r\n",
    "a lone dot": b".\r\n",
    "only dots": b".\r\n" * 5000,
    "nothing": b"",
    "an empty line": b"\r\n",
    "a header and no body": b"Subject: x\r\n",
    "a header and an empty body": b"Subject: x\r\n\r\n",
    "no header": b"just text, no colon\r\nmore\r\n",
    "empty lines": b"Subject: x\r\n\r\n" + b"\r\n" * 10_000,
    "8-bit text": b"Subject: x\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n"
    + bytes(range(128, 256)) * 50
    + b"\r\n",
    "every octet but NUL, CR and LF": b"Subject: x\r\n\r\n"
    + bytes(n for n in range(1, 256) if n not in (10, 13))
    + b"\r\n",
    "UTF-8 in header fields": "Subject: Grüße, 你好\r\nFrom: Jörg <j@x>\r\n\r\nbody\r\n".encode(),
    "Bcc and Return-Path stay": b"Return-Path: <old@x>\r\nBcc: secret@x\r\nbcc: b\r\n\r\nbody\r\n",
    "a From line as mbox has it": b"From a@x Mon Jan  1 2024\r\nX: y\r\n\r\nFrom a\r\n>From b\r\n",
    "white space at the ends of lines": b"Subject: x \t \r\n\r\ntrailing   \t\r\n \r\n\t\r\n",
    "a header that is broken": b"Subject x\r\n: no name\r\n \r\nX:\r\n\r\nbody\r\n",
    "20 MB": b"Subject: big\r\n\r\n"
    + b"0123456789" * 7
    + b"\r\n"
    + (b"." * 71 + b"\r\n") * (20 * 1024 * 1024 // 73),
    "just over a megabyte": b"Subject: x\r\n\r\n" + (b"a" * 62 + b"\r\n") * ((1 << 20) // 64),
}


@pytest.fixture(scope="module")
def hard():
    with Sink() as sink, Postern(sink) as gateway:
        yield sink, gateway


@pytest.mark.asan
@pytest.mark.parametrize("way", ["DATA", "BDAT"])
@pytest.mark.parametrize("name", HARD)
def test_hard_message(hard, name, way):
    sink, gateway = hard
    sink.clear()
    message = HARD[name]
    with gateway.client() as client:
        client.hello()
        client.says("MAIL FROM:<a@source.example> BODY=8BITMIME").expect(250)
        client.says("RCPT TO:<b@sink.example>").expect(250)
        if way == "DATA":
            client.says("DATA").expect(354)
            client.sends_message(message).expect(250)
        else:
            half = len(message) // 2
            client.sends(b"BDAT %d\r\n" % half + message[:half]).expect(250)
            client.sends(b"BDAT %d LAST\r\n" % (len(message) - half) + message[half:]).expect(250)
        client.says("QUIT").expect(221)
    assert split_trace(sink.wait_for(1)[0].content)[1] == message
    gateway.settle()


def test_fifty_by_swaks(tool):
    # swaks understands escapes in what it is given.
    chosen = [m for m in corpus.messages(every=37) if b"\\" not in m.raw and b"%" not in m.raw][:50]
    assert len(chosen) == 50
    with Sink() as sink, Postern(sink) as gateway, temporary_folder() as folder:
        for number, message in enumerate(chosen):
            path = folder / str(number)
            path.write_bytes(message.wire)
            subprocess.run(
                [
                    tool("swaks"),
                    "--server",
                    f"127.0.0.1:{gateway.port}",
                    "--from",
                    f"s{number}@source.example",
                    "--to",
                    "b@sink.example",
                    "--no-strip-from",
                    "--data",
                    f"@{path}",
                    "--silent",
                    "2",
                ],
                check=True,
                capture_output=True,
                timeout=60,
            )
        arrived = {m.reverse_path: m for m in sink.wait_for(50)}
        gateway.settle()
    for number, message in enumerate(chosen):
        body = split_trace(arrived[f"s{number}@source.example"].content)[1]
        # swaks itself ends the data by one more CRLF.
        assert (
            body.removesuffix(b"\r\n") == message.wire.removesuffix(b"\r\n")
            or body == message.wire + b"\r\n"
        ), message.name


def test_load_by_smtp_source(root):
    with Sink() as sink, Postern(sink) as gateway:
        for kept in ([], ["-d"]):
            subprocess.run(
                [
                    *peers.postfix_tool("smtp-source"),
                    *kept,
                    "-s",
                    "20",
                    "-l",
                    "4096",
                    "-m",
                    "500",
                    "-f",
                    "a@source.example",
                    "-t",
                    "b@sink.example",
                    f"127.0.0.1:{gateway.port}",
                ],
                check=True,
                timeout=60,
            )
        assert len(sink.wait_for(1000, 60)) == 1000
        gateway.settle()


@pytest.mark.slow
def test_on_to_a_real_postfix_and_a_maildir(root):
    chosen = [m for m in corpus.messages(every=20) if not m.has_nul]
    with temporary_folder() as folder:
        folder.chmod(0o755)
        with peers.Postfix(
            folder / "postfix",
            0,
            maildir=True,
            settings={"line_length_limit": "2097152"},
        ) as postfix, Postern(postfix) as gateway:
            sent = {
                f"m{n}@source.example": m
                for n, m, code in send_kept(gateway.port, chosen)
                if code == 250
            }
            assert len(sent) == len(chosen)
            gateway.settle()
            inbox = postfix.maildir / "all" / "new"
            gateway.wait_until(
                lambda: inbox.is_dir() and len(list(inbox.iterdir())) >= len(sent),
                "all in the Maildir",
            )
            for path in inbox.iterdir():
                check_mailbox_copy(path.read_bytes(), sent)
    assert not sent


def check_mailbox_copy(content: bytes, sent: dict) -> None:
    """Under what Postfix puts on top stands our trace header, and under it the message, but for
    what Postfix itself changes: line ends, and an empty line where it sees the header end."""
    lines = content.split(b"\n")
    sender = next(line for line in lines if line.startswith(b"Return-Path: "))[14:-1].decode()
    original = sent.pop(sender)
    ours = content.index(b"by gw.example")
    start = content.rindex(b"\nReceived: ", 0, ours) + 1
    rest = split_trace(content[start:].replace(b"\n", b"\r\n"))[1]
    assert rest in (original.wire, b"\r\n" + original.wire) or one_empty_line_more(
        rest, original.wire
    ), original.name


def one_empty_line_more(copy: bytes, wire: bytes) -> bool:
    """True if the copy is the message with one empty line put in."""
    same = next((n for n, (a, b) in enumerate(zip(copy, wire)) if a != b), len(wire))
    at = wire.rfind(b"\r\n", 0, same) + 2
    return copy == wire[:at] + b"\r\n" + wire[at:]
