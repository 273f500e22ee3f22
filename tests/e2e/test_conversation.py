"""What a client may say, and what it is answered (RFC 5321 and the extensions offered)."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lib import Postern, Sink, make_message, split_trace

pytestmark = pytest.mark.asan
HERE = Path(__file__).resolve().parent
BEFORE = {
    "": [],
    "hello": ["EHLO client.example"],
    "mail": ["EHLO client.example", "MAIL FROM:<a@source.example>"],
    "rcpt": ["EHLO client.example", "MAIL FROM:<a@source.example>", "RCPT TO:<b@sink.example>"],
}
HEADING = re.compile(r"== (.*?)(?:  \[after (\w+)\])?$")
STEP = re.compile(r"(\d{3}(?:\|\d{3})*)(?: (\d\.\d\.\d))?  (.*)$")
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)")
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


@dataclass
class Conversation:
    before: list[str]
    steps: list[tuple[list[int], str | None, bytes]] = field(default_factory=list)


def unescaped(text: str) -> bytes:
    def octet(match):
        word = match[1]
        return bytes([int(word[1:], 16)]) if len(word) == 3 else ESCAPES[word]

    line = ESCAPE.sub(octet, text.encode())
    return line if line.endswith(b"\r\n") else line + b"\r\n"


def read_conversations(path: Path) -> dict[str, Conversation]:
    found: dict[str, Conversation] = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if heading := HEADING.match(line):
            current = found[heading[1]] = Conversation(BEFORE[heading[2] or ""])
            continue
        step = STEP.match(line)
        assert step, line
        codes = [int(code) for code in step[1].split("|")]
        current.steps.append((codes, step[2], unescaped(step[3])))
    return found


CONVERSATIONS = read_conversations(HERE / "conversations.txt")


@pytest.fixture(scope="module")
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink):
    with Postern(sink) as gateway:
        yield gateway


@pytest.fixture
def client(gateway):
    with gateway.client() as client:
        yield client


def test_the_greeting_names_the_host_and_ehlo_lists_what_is_offered(gateway):
    with gateway.client() as client:
        assert client.greeting.lines[0].startswith("gw.example ")
        lines = client.hello().lines
    assert lines[0].split()[0] == "gw.example"
    offered = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert {
        "PIPELINING",
        "SIZE",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "LIMITS",
    } <= set(offered)
    assert offered["SIZE"] == [str(50 << 20)]
    assert "RCPTMAX=1000" in offered["LIMITS"]
    assert "STARTTLS" not in offered and "AUTH" not in offered and "BINARYMIME" not in offered


def test_helo_offers_nothing(client):
    assert client.says("HELO client.example").expect(250).lines[0].startswith("gw.example")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation(client, name):
    conversation = CONVERSATIONS[name]
    for line in conversation.before:
        client.says(line).expect(250)
    for codes, enhanced, octets in conversation.steps:
        reply = client.sends(octets).reply()
        assert reply.code in codes, "\n".join(client.transcript)
        if enhanced:
            assert reply.enhanced == enhanced, "\n".join(client.transcript)


def test_a_line_that_is_too_long_is_one_error_and_not_many_commands(client):
    client.hello()
    client.says("NOOP " + "MAIL FROM:<a@source.example> " * 100).expect(500)
    for octets in (2046, 2047, 2048, 4096, 8192, 16384):  # where a buffer might end
        client.says(b"X" * octets + b"MAIL FROM:<a@source.example>").expect(500)
    client.says("RCPT TO:<b@sink.example>").expect(503)


def test_no_octet_of_the_client_comes_back_raw(client):
    for line in (
        b"EHLO \x1b[31mred",
        b"\x07\x08\x1b",
        b"MAIL FROM:<a\x1b@b>",
        b"VRFY \x1b]0;x\x07",
        b"HELO a\x80\xff",
    ):
        reply = client.says(line).reply()  # which fails on any control character
        assert "[31m" not in reply.text and "]0;" not in reply.text


def test_pipelined_commands_are_answered_in_order(gateway, sink, client):
    client.sends(
        b"EHLO client.example\r\nMAIL FROM:<pipe@source.example>\r\nRCPT TO:<b@@bad>\r\n"
        b"RCPT TO:<b@sink.example>\r\nDATA\r\n"
    )
    for code in (250, 250, 501, 250, 354):
        client.expect(code)
    client.sends(b"Subject: x\r\n\r\none\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n")
    for code in (250, 250, 250, 221):
        client.expect(code)
    client.expect_closed()
    gateway.settle()
    arrived = [m for m in sink.messages if m.reverse_path == "pipe@source.example"]
    assert [split_trace(m.content)[1] for m in arrived] == [b"Subject: x\r\n\r\none\r\n"]


def test_one_octet_at_a_time(gateway, sink, client):
    commands = (
        b"EHLO client.example\r\nMAIL FROM:<slow@source.example>\r\n"
        b"RCPT TO:<b@sink.example>\r\nDATA\r\n"
    )
    for octet in commands:
        client.sends(bytes([octet]))
    for code in (250, 250, 250, 354):
        client.expect(code)
    for octet in b"..dot\r\n\r\n.\r\n":
        client.sends(bytes([octet]))
    client.expect(250)
    gateway.settle()
    arrived = [m for m in sink.messages if m.reverse_path == "slow@source.example"]
    assert [split_trace(m.content)[1] for m in arrived] == [b".dot\r\n\r\n"]


def test_bdat_in_chunks_and_pipelined(gateway, sink, client):
    message = make_message("chunks", b".\r\n.\r\n..\r\n\r\n.\r\nend\r\n")
    client.hello()
    client.says("MAIL FROM:<bdat@source.example>").expect(250)
    client.says("RCPT TO:<b@sink.example>").expect(250)
    cuts = [message[:7], message[7:8], b"", message[8:]]
    client.sends(
        b"".join(
            b"BDAT %d%s\r\n%s" % (len(part), b" LAST" if part is cuts[-1] else b"", part)
            for part in cuts
        )
        + b"NOOP\r\n"
    )
    for _ in cuts:
        client.expect(250)
    client.expect(250)
    gateway.settle()
    arrived = [m for m in sink.messages if m.reverse_path == "bdat@source.example"]
    assert [split_trace(m.content)[1] for m in arrived] == [message]


def test_the_reply_to_the_end_of_data_carries_the_id_of_the_trace_header(gateway, sink, client):
    client.hello()
    reply = client.delivers(make_message(), "id@source.example")
    gateway.settle()
    trace, _ = split_trace(
        next(m.content for m in sink.messages if m.reverse_path == "id@source.example")
    )
    identity = trace.decode().split(" id ")[1].split()[0].rstrip(";")
    assert identity in reply.text
    assert b"client.example" in trace and b"127.0.0.1" in trace and b"gw.example" in trace


def test_a_message_over_the_limit_is_refused_at_its_end_and_the_session_goes_on(gateway):
    with Postern(
        settings={
            "message_rules": {"max_message_size_mb": 1},
            "delivery": {
                "routes": [{"domain": "*", "next_hops": [{"host": "127.0.0.1", "port": 9}]}]
            },
        }
    ) as small, small.client() as client:
        client.hello()
        client.starts_data().sends_message(
            make_message(body=b"x" * 70 + b"\r\n" * (1 << 19))
        ).expect(552, "5.3.4")
        client.says("MAIL FROM:<a@source.example>").expect(250)
        client.says("RCPT TO:<b@sink.example>").expect(250)
        client.sends(b"BDAT %d LAST\r\n" % (2 << 20) + b"x" * (2 << 20)).expect(552, "5.3.4")
        client.says("NOOP").expect(250)
        assert small.queue() == []


def test_too_many_recipients_are_told_to_come_again():
    with Postern(
        settings={"message_rules": {"max_recipients": 3}}
    ) as gateway, gateway.client() as client:
        client.hello()
        client.says("MAIL FROM:<a@source.example>").expect(250)
        for number in range(3):
            client.says(f"RCPT TO:<b{number}@sink.example>").expect(250)
        client.says("RCPT TO:<b3@sink.example>").expect(452, "4.5.3")
        client.says("RSET").expect(250)


def test_messages_per_connection_are_limited():
    with Sink() as sink, Postern(
        sink, settings={"message_rules": {"max_messages_per_connection": 2}}
    ) as gateway, gateway.client() as client:
        assert "MAILMAX=2" in client.hello().text
        client.delivers(make_message())
        client.delivers(make_message())
        client.says("MAIL FROM:<a@source.example>").expect(421)
        client.expect_closed()
        gateway.settle()
        assert len(sink.messages) == 2
