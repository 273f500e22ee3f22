"""Clients that mean harm, or speak another language: a designed answer for each, and nobody else
is disturbed."""

import pytest

from lib import Postern, Sink, make_message, split_trace

pytestmark = pytest.mark.asan


@pytest.fixture(scope="module")
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink):
    with Postern(sink) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def others_are_served(gateway, sink):
    """Whatever the hostile client did: the session that was open all the time goes on."""
    with gateway.client() as witness:
        witness.hello()
        yield
        witness.delivers(make_message("witness"), "witness@source.example")
        witness.says("QUIT").expect(221)


HALF_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r\n.\n",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\r\n.\r\n",
    b"\r\n\r.\r\n",
    b"\0\r\n.\r\n",
    b"\r\n\0.\r\n",
]


@pytest.mark.parametrize("ending", HALF_ENDS, ids=repr)
def test_half_a_line_end_never_starts_a_second_message(gateway, sink, ending):
    with gateway.client() as client:
        client.hello()
        client.starts_data("smuggler@source.example")
        client.sends(
            b"Subject: one\r\n\r\nhi"
            + ending
            + b"MAIL FROM:<evil@source.example>\r\nRCPT TO:<b@sink.example>\r\n"
            + b"DATA\r\nevil\r\n.\r\n"
        )
        client.expect(554, "5.5.2")
        client.expect_closed()
    gateway.settle()
    assert not [
        m
        for m in sink.messages
        if m.reverse_path in ("smuggler@source.example", "evil@source.example")
    ]


@pytest.mark.parametrize(
    "text", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\r\r\n", b"\n.\n\r\n"], ids=repr
)
def test_bdat_text_with_a_bare_line_end_is_refused_and_the_session_goes_on(gateway, sink, text):
    with gateway.client() as client:
        client.hello()
        client.says("MAIL FROM:<bdat-evil@source.example>").expect(250)
        client.says("RCPT TO:<b@sink.example>").expect(250)
        client.sends(b"BDAT %d LAST\r\n" % len(text) + text).expect(554, "5.5.2")
        client.says("NOOP").expect(250)
        client.says("QUIT").expect(221)
    gateway.settle()
    assert not [m for m in sink.messages if m.reverse_path == "bdat-evil@source.example"]


def test_a_cr_and_its_lf_may_come_in_two_chunks(gateway, sink):
    with gateway.client() as client:
        client.hello()
        client.says("MAIL FROM:<cut@source.example>").expect(250)
        client.says("RCPT TO:<b@sink.example>").expect(250)
        client.sends(b"BDAT 2\r\na\r").expect(250)
        client.sends(b"BDAT 1 LAST\r\n\n").expect(250)
    gateway.settle()
    assert [
        split_trace(m.content)[1] for m in sink.messages if m.reverse_path == "cut@source.example"
    ] == [b"a\r\n"]


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.0\r\n\r\n",
        b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n",
    ],
    ids=repr,
)
def test_http_is_shown_the_door(gateway, request_line):
    with gateway.client() as client:
        client.sends(request_line)
        client.expect(554)
        client.expect_closed()


def test_tls_from_the_first_octet_is_shown_the_door(gateway):
    with gateway.client() as client:
        client.sends(bytes.fromhex("16030100c5010000c10303") + bytes(range(186)) + b"\n")
        client.expect(554)
        client.expect_closed()


def test_who_speaks_before_the_greeting_is_refused(gateway):
    with gateway.client(greeting=None) as client:
        client.sends(b"EHLO early.example\r\nMAIL FROM:<early@source.example>\r\n")
        reply = client.reply()
        # The octets may arrive after the greeting was sent: then it was no early talker.
        assert reply.code in (554, 220), client.transcript
        if reply.code == 554:
            client.expect_closed()


def test_garbage_ends_in_421(gateway):
    with gateway.client() as client:
        client.sends(
            b"".join(
                bytes((n * 7 + k) % 256 for k in range(60) if (n * 7 + k) % 256 not in (10, 13))
                + b"\r\n"
                for n in range(100)
            )
        )
        said = client.reads_to_the_end().split(b"\r\n")
        assert said[-1] == b"" and said[-2].startswith(b"421 "), said
        assert all(line[:3] in (b"500", b"501", b"554") for line in said[:-2]), said


def test_too_many_errors_end_in_421(gateway):
    with gateway.client() as client:
        client.hello()
        for _ in range(200):
            if client.says("XYZZY").reply().code == 421:
                break
        else:
            pytest.fail("200 errors and still welcome")
        client.expect_closed()


def test_a_line_without_end_is_not_read_for_ever(gateway):
    with gateway.client() as client:
        client.sends(b"N" * (1 << 20))
        said = client.reads_to_the_end()
        assert b"421 " in said and said.count(b"\r\n") <= 2, said


def test_a_reset_in_the_middle_of_data_delivers_nothing(gateway, sink):
    for _ in range(5):
        client = gateway.client()
        client.hello()
        client.starts_data("gone@source.example").sends(b"Subject: never\r\n\r\n" + b"x\r\n" * 1000)
        client.reset()
    with gateway.client() as client:
        client.hello()
        client.starts_data("gone@source.example").sends(
            b"Subject: never\r\n\r\nhalf"
        ).ends_sending()
        client.expect_closed()
    gateway.settle()
    assert not [m for m in sink.messages if m.reverse_path == "gone@source.example"]


def test_ninety_nine_hops_are_honest_and_a_hundred_are_a_loop(gateway, sink):
    def hops(count: int) -> bytes:
        return b"".join(
            b"Received: from h%d.example by h%d.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
            % (n, n + 1)
            for n in range(count)
        )

    with gateway.client() as client:
        client.hello()
        client.starts_data("hops@source.example").sends_message(hops(100) + make_message()).expect(
            554, "5.4.6"
        )
        client.starts_data("hops@source.example").sends_message(
            hops(99) + make_message("honest")
        ).expect(250)
        # What only looks like a hop, in the body, is none.
        client.starts_data("hops@source.example").sends_message(
            make_message("body", body=hops(150))
        ).expect(250)
    gateway.settle()
    assert sorted(
        b"Subject: honest" in m.content
        for m in sink.messages
        if m.reverse_path == "hops@source.example"
    ) == [False, True]


def test_control_characters_of_a_client_do_not_reach_the_log_raw(gateway):
    with gateway.client() as client:
        client.says(b"EHLO \x1b[31mred.example").reply()
        client.says(b"XYZZY \x1b]0;title\x07").reply()
        client.says(b"MAIL FROM:<\x1b[2J@source.example>").reply()
        client.says("QUIT").reply()
    assert b"\x1b" not in gateway.log_octets()
