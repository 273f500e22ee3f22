"""What a client may say, and what it is answered (RFC 5321 and the extensions offered)."""

import pytest

from lib import Postern, Sink, make_message, split_trace

pytestmark = pytest.mark.asan
GREETED = [("EHLO client.example", 250)]
IN_MAIL = [*GREETED, ("MAIL FROM:<a@source.example>", 250)]
IN_RCPT = [*IN_MAIL, ("RCPT TO:<b@sink.example>", 250)]


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
    assert {"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "DSN",
            "LIMITS"} <= set(offered)
    assert offered["SIZE"] == [str(50 << 20)]
    assert "RCPTMAX=1000" in offered["LIMITS"]
    assert "STARTTLS" not in offered and "AUTH" not in offered and "BINARYMIME" not in offered


def test_helo_offers_nothing(client):
    assert client.says("HELO client.example").expect(250).lines[0].startswith("gw.example")


CONVERSATIONS = {
    "order: MAIL before EHLO": [("MAIL FROM:<a@source.example>", 503, "5.5.1")],
    "order: RCPT before MAIL": [*GREETED, ("RCPT TO:<b@sink.example>", 503, "5.5.1")],
    "order: DATA before MAIL": [*GREETED, ("DATA", 503, "5.5.1")],
    "order: DATA before RCPT": [*IN_MAIL, ("DATA", 503, "5.5.1")],
    "order: BDAT before RCPT": [*IN_MAIL, ("BDAT 0 LAST", 503, "5.5.1")],
    "order: DATA after all recipients were refused": [
        *IN_MAIL, ("RCPT TO:<b@@sink.example>", 501), ("DATA", 554, "5.5.1")],
    "order: MAIL in a transaction": [*IN_MAIL, ("MAIL FROM:<c@source.example>", 503, "5.5.1")],
    "order: RSET ends a transaction": [*IN_RCPT, ("RSET", 250), ("DATA", 503)],
    "order: a second EHLO ends a transaction": [*IN_RCPT, ("EHLO again.example", 250), ("DATA", 503)],
    "order: a second HELO ends a transaction": [*IN_RCPT, ("HELO again.example", 250), ("DATA", 503)],
    "hello: no name": [("EHLO", 501)],
    "hello: an address literal": [("EHLO [192.0.2.1]", 250)],
    "hello: an IPv6 literal": [("EHLO [IPv6:2001:db8::1]", 250)],
    "hello: a name with an underscore": [("EHLO my_pc.example", 250)],
    "commands: VRFY": [*GREETED, ("VRFY postmaster", 252)],
    "commands: NOOP with an argument": [*GREETED, ("NOOP anything at all", 250)],
    "commands: HELP": [("HELP", 214)],
    "commands: any case": [("ehlo client.example", 250), ("mAiL fRoM:<a@source.example>", 250),
                           ("rCpT tO:<b@sink.example>", 250)],
    "commands: unknown": [*GREETED, ("TURN", 500, "5.5.1"), ("XYZZY a b", 500), ("NOOP", 250)],
    "commands: empty": [*GREETED, ("", 500), ("NOOP", 250)],
    "commands: STARTTLS without TLS": [*GREETED, ("STARTTLS", 502)],
    "commands: an argument where none belongs": [*IN_RCPT, ("DATA now", 501), ("RSET now", 501), ("DATA", 354)],
    "mail: null path": [*GREETED, ("MAIL FROM:<>", 250)],
    "mail: no brackets": [*GREETED, ("MAIL FROM:a@source.example", 501)],
    "mail: nothing": [*GREETED, ("MAIL", 501), ("MAIL FROM:", 501)],
    "mail: SIZE": [*GREETED, ("MAIL FROM:<a@source.example> SIZE=1000", 250)],
    "mail: SIZE over the limit": [*GREETED, (f"MAIL FROM:<a@source.example> SIZE={(50 << 20) + 1}", 552, "5.3.4")],
    "mail: SIZE at the limit": [*GREETED, (f"MAIL FROM:<a@source.example> SIZE={50 << 20}", 250)],
    "mail: SIZE beyond 64 bits": [*GREETED, ("MAIL FROM:<a@source.example> SIZE=99999999999999999999", (501, 552))],
    "mail: SIZE negative": [*GREETED, ("MAIL FROM:<a@source.example> SIZE=-1", 501)],
    "mail: SIZE in hex": [*GREETED, ("MAIL FROM:<a@source.example> SIZE=0x10", 501)],
    "mail: SIZE twice": [*GREETED, ("MAIL FROM:<a@source.example> SIZE=1 SIZE=1", 501)],
    "mail: BODY": [*GREETED, ("MAIL FROM:<a@source.example> BODY=8BITMIME", 250), ("RSET", 250),
                   ("MAIL FROM:<a@source.example> body=7bit", 250)],
    "mail: BODY twice": [*GREETED, ("MAIL FROM:<a@source.example> BODY=7BIT BODY=8BITMIME", 501)],
    "mail: BINARYMIME is not offered": [*GREETED, ("MAIL FROM:<a@source.example> BODY=BINARYMIME", (501, 504))],
    "mail: an unknown parameter": [*GREETED, ("MAIL FROM:<a@source.example> FOO=bar", 555)],
    "mail: RET and ENVID": [*GREETED, ("MAIL FROM:<a@source.example> RET=HDRS ENVID=QQ+2B1", 250)],
    "mail: RET wrong": [*GREETED, ("MAIL FROM:<a@source.example> RET=SOME", (501, 504))],
    "mail: ENVID is no xtext": [*GREETED, ("MAIL FROM:<a@source.example> ENVID=a+zz", 501)],
    "mail: parameters after HELO": [("HELO client.example", 250), ("MAIL FROM:<a@source.example> SIZE=10", 555)],
    "mail: a UTF-8 address needs SMTPUTF8": [*GREETED, ("MAIL FROM:<jörg@source.example>", 553, "5.6.7")],
    "mail: a UTF-8 address with SMTPUTF8": [*GREETED, ("MAIL FROM:<jörg@bücher.example> SMTPUTF8", 250),
                                            ("RCPT TO:<δοκιμή@παράδειγμα.example>", 250)],
    "mail: SMTPUTF8 twice": [*GREETED, ("MAIL FROM:<a@source.example> SMTPUTF8 SMTPUTF8", 501)],
    "rcpt: a UTF-8 address needs SMTPUTF8": [*IN_MAIL, ("RCPT TO:<jörg@sink.example>", 553, "5.6.7")],
    "rcpt: octets that are no UTF-8": [*GREETED, ("MAIL FROM:<a@source.example> SMTPUTF8", 250),
                                       (b"RCPT TO:<j\xf6rg@sink.example>", (501, 553))],
    "rcpt: null path": [*IN_MAIL, ("RCPT TO:<>", 501)],
    "rcpt: postmaster alone": [*IN_MAIL, ("RCPT TO:<Postmaster>", (250, 550))],
    "rcpt: NOTIFY and ORCPT": [*IN_MAIL, (
        "RCPT TO:<b@sink.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;b+2Bc@x.example", 250)],
    "rcpt: NOTIFY NEVER with another": [*IN_MAIL, ("RCPT TO:<b@sink.example> NOTIFY=NEVER,FAILURE", 501)],
    "rcpt: NOTIFY twice": [*IN_MAIL, ("RCPT TO:<b@sink.example> NOTIFY=NEVER NOTIFY=NEVER", 501)],
    "rcpt: an unknown parameter": [*IN_MAIL, ("RCPT TO:<b@sink.example> FOO=bar", 555)],
    "addresses: quoted local part": [*IN_MAIL, ('RCPT TO:<"a b>c@d"@sink.example>', 250)],
    "addresses: quoted pair": [*IN_MAIL, (r'RCPT TO:<"a\"b\\c"@sink.example>', 250)],
    "addresses: source route": [*IN_MAIL, ("RCPT TO:<@one.example,@two.example:b@sink.example>", 250)],
    "addresses: IPv4 literal": [*IN_MAIL, ("RCPT TO:<b@[192.0.2.1]>", 250)],
    "addresses: IPv6 literal": [*IN_MAIL, ("RCPT TO:<b@[IPv6:2001:db8::1]>", 250)],
    "addresses: bad IPv4 literal": [*IN_MAIL, ("RCPT TO:<b@[192.0.2.256]>", 501)],
    "addresses: bad IPv6 literal": [*IN_MAIL, ("RCPT TO:<b@[IPv6:2001:db8::1::2]>", 501)],
    "addresses: a local part of 64 octets": [*IN_MAIL, (f"RCPT TO:<{'a' * 64}@sink.example>", 250)],
    "addresses: a label of 64 octets": [*IN_MAIL, (f"RCPT TO:<a@{'b' * 64}.example>", 501)],
    "addresses: two dots": [*IN_MAIL, ("RCPT TO:<a@sink..example>", 501)],
    "addresses: no domain": [*IN_MAIL, ("RCPT TO:<a@>", 501)],
    "addresses: no local part": [*IN_MAIL, ("RCPT TO:<@sink.example>", 501)],
    "addresses: space": [*IN_MAIL, ("RCPT TO:<a b@sink.example>", 501)],
    "addresses: DEL in a quoted local part": [*IN_MAIL, (b'RCPT TO:<"a\x7fb"@sink.example>', (500, 501))],
    "addresses: a tab in a quoted local part": [*IN_MAIL, (b'RCPT TO:<"a\tb"@sink.example>', (500, 501))],
    "lines: NUL does not cut a command": [*IN_RCPT, (b"RSET\0garbage", 500), ("DATA", 354)],
    "lines: NUL in an address": [*IN_MAIL, (b"RCPT TO:<b@sink.example\0>", 500)],
    "lines: bare LF does not end a command": [*GREETED, (b"NOOP\nMAIL FROM:<a@source.example>", 500),
                                              ("RCPT TO:<b@sink.example>", 503)],
    "lines: bare CR does not end a command": [*GREETED, (b"NOOP\rMAIL FROM:<a@source.example>", 500),
                                              ("RCPT TO:<b@sink.example>", 503)],
    "lines: CR CR LF": [*GREETED, (b"NOOP\r", 500), ("NOOP", 250)],
    "lines: an LF in an address": [*IN_MAIL, (b"RCPT TO:<b@sink.example\n>", 500)],
    "lines: too long is one error, not many commands": [
        *GREETED, ("NOOP " + "MAIL FROM:<a@source.example> " * 100, 500), ("RCPT TO:<b@sink.example>", 503)],
    "lines: too long, cut where a buffer might end": [
        *GREETED, *((b"X" * n + b"MAIL FROM:<a@source.example>", 500) for n in (2048, 4096, 8192, 16384)),
        ("RCPT TO:<b@sink.example>", 503)],
    "bdat: hex": [*IN_RCPT, ("BDAT 0x10 LAST", 501)],
    "bdat: negative": [*IN_RCPT, ("BDAT -1 LAST", 501)],
    "bdat: beyond 64 bits": [*IN_RCPT, ("BDAT 18446744073709551617 LAST", (501, 552))],
    "bdat: no size": [*IN_RCPT, ("BDAT", 501)],
    "bdat: DATA after BDAT": [*IN_RCPT, (b"BDAT 4\r\nhi\r\n", 250), ("DATA", 503)],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation(client, name):
    for say, code, *enhanced in CONVERSATIONS[name]:
        said = client.sends(say) if isinstance(say, bytes) and say.endswith(b"\r\n") else client.says(say)
        reply = said.reply()
        wanted = code if isinstance(code, tuple) else (code,)
        assert reply.code in wanted, "\n".join(client.transcript)
        if enhanced:
            assert reply.enhanced == enhanced[0], "\n".join(client.transcript)


def test_no_octet_of_the_client_comes_back_raw(client):
    for line in (b"EHLO \x1b[31mred", b"\x07\x08\x1b", b"MAIL FROM:<a\x1b@b>", b"VRFY \x1b]0;x\x07", b"HELO a\x80\xff"):
        reply = client.says(line).reply()  # which fails on any control character
        assert "[31m" not in reply.text and "]0;" not in reply.text


def test_pipelined_commands_are_answered_in_order(gateway, sink, client):
    client.sends(b"EHLO client.example\r\nMAIL FROM:<pipe@source.example>\r\nRCPT TO:<b@@bad>\r\n"
                 b"RCPT TO:<b@sink.example>\r\nDATA\r\n")
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
    for octet in b"EHLO client.example\r\nMAIL FROM:<slow@source.example>\r\nRCPT TO:<b@sink.example>\r\nDATA\r\n":
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
    client.sends(b"".join(b"BDAT %d%s\r\n%s" % (len(part), b" LAST" if part is cuts[-1] else b"", part)
                          for part in cuts) + b"NOOP\r\n")
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
    trace, _ = split_trace(next(m.content for m in sink.messages if m.reverse_path == "id@source.example"))
    identity = trace.decode().split(" id ")[1].split()[0].rstrip(";")
    assert identity in reply.text
    assert b"client.example" in trace and b"127.0.0.1" in trace and b"gw.example" in trace


def test_a_message_over_the_limit_is_refused_at_its_end_and_the_session_goes_on(gateway):
    with Postern(settings={"message_rules": {"max_message_size_mb": 1},
                           "delivery": {"routes": [{"domain": "*", "next_hops": [{"host": "127.0.0.1", "port": 9}]}]}}
                 ) as small, small.client() as client:
        client.hello()
        client.starts_data().sends_message(make_message(body=b"x" * 70 + b"\r\n" * (1 << 19))).expect(552, "5.3.4")
        client.says("MAIL FROM:<a@source.example>").expect(250)
        client.says("RCPT TO:<b@sink.example>").expect(250)
        client.sends(b"BDAT %d LAST\r\n" % (2 << 20) + b"x" * (2 << 20)).expect(552, "5.3.4")
        client.says("NOOP").expect(250)
        assert small.queue() == []


def test_too_many_recipients_are_told_to_come_again():
    with Postern(settings={"message_rules": {"max_recipients": 3}}) as gateway, gateway.client() as client:
        client.hello()
        client.says("MAIL FROM:<a@source.example>").expect(250)
        for number in range(3):
            client.says(f"RCPT TO:<b{number}@sink.example>").expect(250)
        client.says("RCPT TO:<b3@sink.example>").expect(452, "4.5.3")
        client.says("RSET").expect(250)


def test_messages_per_connection_are_limited():
    with Sink() as sink, Postern(sink, settings={"message_rules": {"max_messages_per_connection": 2}}) as gateway, \
            gateway.client() as client:
        assert "MAILMAX=2" in client.hello().text
        client.delivers(make_message())
        client.delivers(make_message())
        client.says("MAIL FROM:<a@source.example>").expect(421)
        client.expect_closed()
        gateway.settle()
        assert len(sink.messages) == 2
