"""What hostile clients send to the console: framing, targets, hosts, forged requests, markup."""

import contextlib
import json
import re
import socket

import pytest

from lib import Browser, Postern, console_url, free_port, make_message

pytestmark = pytest.mark.asan

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def gateway():
    with Postern(free_port()) as gateway:
        for name, role in (("ann", "administrator"), ("vic", "viewer")):
            gateway.cli("admin", "add", name, "--role", role, stdin=PASSWORD)
        yield gateway


@pytest.fixture(scope="module")
def ann(gateway):
    browser = Browser(console_url(gateway))
    browser.log_in("ann", PASSWORD)
    return browser


def exchange(browser, octets: bytes, seconds: float = 60) -> bytes:
    """All that comes back until the console closes."""
    address = (browser.url.hostname, browser.url.port)
    with socket.create_connection(address, seconds) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(octets)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                got += piece
    return got


def answers(octets: bytes) -> list[int]:
    """The statuses of all answers in the stream."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", octets)]


def known(browser, lines: str, body: bytes = b"", method_and_target="POST /api/v1/connections/test"):
    head = (
        f"{method_and_target} HTTP/1.1\r\nHost: localhost\r\n"
        f"Cookie: postern_session={browser.cookie}\r\nX-CSRF-Token: {browser.csrf}\r\n"
        f"Content-Type: application/json\r\n{lines}\r\n"
    )
    return head.encode("latin-1") + body


BODY = b'{"address":"192.0.2.1"}'
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


# ---- request smuggling ----


@pytest.mark.parametrize(
    "lines, body",
    [
        ("Content-Length: 23\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("Content-Length: 23\r\nContent-Length: 0\r\n", BODY + SMUGGLED),
        ("Content-Length: 23\r\nContent-Length: 23\r\n", BODY + SMUGGLED),
        ("Content-Length: 23, 23\r\n", BODY + SMUGGLED),
        ("Content-Length: +23\r\n", BODY + SMUGGLED),
        ("Content-Length: 0x17\r\n", BODY + SMUGGLED),
        ("Content-Length: 23 23\r\n", BODY + SMUGGLED),
        ("Content-Length : 23\r\n", BODY + SMUGGLED),
        ("Content-Length: 99999999999999999999\r\n", BODY + SMUGGLED),
        ("Content-Length: -1\r\n", BODY + SMUGGLED),
        ("Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("Transfer-Encoding: identity\r\n", BODY + SMUGGLED),
        ("Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("Transfer-Encoding\x00: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("X: y\r\n\tfolded\r\nContent-Length: 23\r\n", BODY + SMUGGLED),
        ("X: y\nContent-Length: 23\r\n", BODY + SMUGGLED),
        ("X: y\rContent-Length: 23\r\n", BODY + SMUGGLED),
        (": empty\r\nContent-Length: 23\r\n", BODY + SMUGGLED),
        ("Content Length: 23\r\n", BODY + SMUGGLED),
    ],
)
def test_a_doubtful_length_ends_the_connection(ann, lines, body):
    statuses = answers(exchange(ann, known(ann, lines, body)))
    assert statuses in ([400], [413]), statuses


@pytest.mark.parametrize(
    "body",
    [
        b"17;ext=1\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"17\r\n" + BODY + b"\r\n0\r\nTrailer: x\r\n\r\n",
        b"17\n" + BODY + b"\r\n0\r\n\r\n",
        b"17\r\n" + BODY + b"0\r\n\r\n",
        b"0x17\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"-1\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\n" + BODY,
        b"10000000000000000\r\n" + BODY,
        b"17\r\n" + BODY + b"\r\n0\r\n\n",
    ],
)
def test_doubtful_chunks_end_the_connection(gateway, ann, body):
    octets = known(ann, "Transfer-Encoding: chunked\r\n", body + SMUGGLED)
    statuses = answers(exchange(ann, octets))
    assert statuses in ([400], [413]), statuses


def test_a_good_body_is_followed_by_the_next_request(ann):
    octets = known(ann, "Content-Length: 23\r\n", BODY)
    octets += known(ann, "Transfer-Encoding: chunked\r\n", b"17\r\n" + BODY + b"\r\n0\r\n\r\n")
    octets += known(ann, "Connection: close\r\n", method_and_target="GET /api/v1/me")
    assert answers(exchange(ann, octets)) == [200, 200, 200]


def test_an_answer_before_the_end_of_the_body_is_the_last_one(gateway):
    """What is left of it must never be taken for a request."""
    vic = Browser(console_url(gateway))
    vic.log_in("vic", PASSWORD)
    body = SMUGGLED * 20
    octets = known(
        vic,
        f"Content-Length: {len(body)}\r\n",
        body,
        method_and_target="POST /api/v1/connections/lists/deny",
    )
    assert answers(exchange(vic, octets)) == [403]


# ---- targets ----


@pytest.mark.parametrize(
    "target, status",
    [
        ("/api/v1/%252e%252e/healthz", 404),
        ("/api/v1/queue/%2e%2e%2fsettings", 404),
        ("/api/v1/queue/..%5c..%5csettings", 404),
        ("/api/v1/queue/..\\settings", 400),
        ("/api/v1/queue/%00", 400),
        ("/api/v1/queue/%0d%0aHost:%20x", 404),
        ("/api/v1/queue/%", 400),
        ("/api/v1/queue/%zz", 400),
        ("/api/v1/queue/%c0%ae%c0%ae/settings", 404),
        ("/assets/../../../etc/passwd", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/..%2f..%2fetc/passwd", 404),
        ("//etc/passwd", 404),
        ("http://localhost/api/v1/me", 200),
        ("http://evil.example/api/v1/me", 400),
        ("http://evil.example@localhost/api/v1/me", 400),
        ("https://localhost/api/v1/me", 400),
        ("file:///etc/passwd", 400),
        ("api/v1/me", 400),
        ("*", 400),
        ("/api/v1/me#fragment", 400),
        ("/api/v1/me?a=1&a=2", 400),
    ],
)
def test_targets_mean_what_they_say_or_nothing(ann, target, status):
    octets = known(ann, "Connection: close\r\n", method_and_target=f"GET {target}")
    assert answers(exchange(ann, octets)) == [status]


@pytest.mark.parametrize(
    "start, status",
    [
        ("GET  /healthz HTTP/1.1", 400),
        ("GET /healthz  HTTP/1.1", 400),
        (" GET /healthz HTTP/1.1", 400),
        ("GET /healthz HTTP/1.2", 505),
        ("GET /healthz HTTP/2.0", 505),
        ("GET /healthz", 400),
        ("CONNECT evil.example:443 HTTP/1.1", 400),
        ("TRACE /healthz HTTP/1.1", 405),
        ("PRI * HTTP/2.0", 505),
        ("GET /healthz\x00 HTTP/1.1", 400),
    ],
)
def test_request_lines(ann, start, status):
    octets = f"{start}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1")
    assert answers(exchange(ann, octets)) == [status]


# ---- hosts ----


@pytest.mark.parametrize(
    "hosts, status",
    [
        (["localhost"], 200),
        (["127.0.0.1:1"], 200),
        (["[::1]"], 200),
        (["evil.example"], 421),
        (["localhost.evil.example"], 421),
        (["localhost@evil.example"], 400),
        (["localhost", "evil.example"], 400),
        (["localhost evil.example"], 400),
        (["localhost/evil"], 400),
        (["local\tho\tst"], 400),
        ([""], 400),
        ([], 400),
        (["2130706433"], 421),
        (["0x7f.1"], 421),
    ],
)
def test_hosts(ann, hosts, status):
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    octets = f"GET /healthz HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode()
    assert answers(exchange(ann, octets)) == [status]


# ---- sizes ----


@pytest.mark.parametrize(
    "octets, status",
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"a=b; " * 20000, 431),
        (b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n", 413),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n", 413),
    ],
)
def test_what_is_too_large_is_said_so_at_once(ann, octets, status):
    assert answers(exchange(ann, octets))[0] == status


def test_those_who_say_little_keep_nobody_out(gateway, ann):
    """More connections than the console takes, each in the middle of its request."""
    slow = []
    try:
        for _ in range(300):
            connection = socket.create_connection((ann.url.hostname, ann.url.port), 60)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
            slow.append(connection)
            if len(slow) % 50 == 0:
                assert ann.get("/api/v1/me").status == 200
        assert ann.get("/healthz").status == 200
    finally:
        for connection in slow:
            connection.close()


# ---- forged requests ----


def test_only_the_token_of_this_very_session_counts(gateway):
    one, other, vic = (Browser(console_url(gateway)) for _ in range(3))
    one.log_in("ann", PASSWORD)
    other.log_in("ann", PASSWORD)
    vic.log_in("vic", PASSWORD)
    right = one.csrf
    body = {"address": "192.0.2.1"}
    for token in (other.csrf, vic.csrf, None, "", right[:-1], right + "A", right.lower()):
        one.csrf = token
        assert one.ask("POST", "/api/v1/connections/test", body).status == 403, token
    one.csrf = right
    assert one.ask("POST", "/api/v1/connections/test", body).status == 200
    # The token alone is nothing, nor in another place.
    one.cookie, cookie = None, one.cookie
    assert one.ask("POST", "/api/v1/connections/test", body).status == 401
    one.cookie, one.csrf = cookie, None
    for query in (f"?csrf={right}", f"?X-CSRF-Token={right}"):
        assert one.ask("POST", f"/api/v1/connections/test{query}", body).status == 403


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"origin": "ORIGIN"}, 200),
        ({"origin": "ORIGIN", "sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "SAME-ORIGIN"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://localhost"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
    ],
)
def test_a_session_is_used_by_pages_of_the_console_alone(gateway, ann, headers, status):
    own = f"http://{ann.url.hostname}:{ann.url.port}"
    headers = {name: own if value == "ORIGIN" else value for name, value in headers.items()}
    body = {"address": "192.0.2.1"}
    assert ann.ask("POST", "/api/v1/connections/test", body, **headers).status == status


def test_a_cookie_and_a_token_are_two_things(gateway, ann):
    """A cookie's value is no bearer token, nor the other way round; a wrong token hides no cookie."""
    browser = Browser(console_url(gateway))
    browser.bearer = ann.cookie
    assert browser.get("/api/v1/me").status == 401
    browser.cookie = ann.cookie
    assert browser.get("/api/v1/me").status == 401
    made = ann.ask("POST", "/api/v1/tokens", {"name": "t", "role": "viewer"}).json
    browser.bearer, browser.cookie = None, made["token"]
    assert browser.get("/api/v1/me").status == 401
    assert ann.ask("DELETE", f"/api/v1/tokens/{made['id']}").status == 204


# ---- markup and line ends in what others say ----

MARKUP = "<script>alert(1)</script>"


def is_safe(answer) -> bool:
    headers = answer.headers
    return (
        headers["Content-Type"] in ("application/json", "application/problem+json")
        and headers["X-Content-Type-Options"] == "nosniff"
        and headers["Cache-Control"] == "no-store"
        and "default-src 'none'" in headers["Content-Security-Policy"]
        and "unsafe" not in headers["Content-Security-Policy"]
        and headers["Referrer-Policy"] == "no-referrer"
    )


def test_what_clients_and_people_say_comes_out_as_json_alone(gateway, ann):
    comment = f"{MARKUP}\u2028\" onload='x"
    entry = {"add": [{"network": "203.0.113.7", "comment": comment}]}
    added = ann.ask("PATCH", "/api/v1/connections/lists/deny", entry)
    assert added.status == 200, added.text
    with gateway.client() as client:
        client.says(f"EHLO {MARKUP}")
        client.reply()
        client.says('MAIL FROM:<"<img/src=x/onerror=alert(1)>"@source.example>').expect(250)
        client.says('RCPT TO:<"<svg/onload=alert(1)>"@sink.example>').expect(250)
        client.says("DATA").expect(354)
        client.sends("Subject: <script>\r\nContent-Type: text/html\r\n\r\n<script>\r\n.\r\n")
        client.expect(250)
        live = ann.get("/api/v1/connections/live")
    queue = ann.get("/api/v1/queue")
    (item,) = queue.json["items"]
    assert "onerror" in queue.text and MARKUP in json.dumps(live.json)
    content = ann.get(f"/api/v1/queue/{item['id']}/content")
    assert content.headers["Content-Type"] == "message/rfc822"
    assert content.headers["Content-Disposition"].startswith("attachment")
    assert content.headers["X-Content-Type-Options"] == "nosniff"
    listed = ann.get("/api/v1/connections/lists/deny")
    assert listed.json["items"][0]["comment"] == comment
    wrong = ann.ask("POST", "/api/v1/connections/test", {"address": MARKUP})
    unknown = ann.get(f"/api/v1/queue?{'%3Cscript%3E'}=1")
    missing = ann.get("/api/v1/queue/%3Cscript%3E")
    named = ann.ask("POST", "/api/v1/tokens", {"name": MARKUP, "role": "viewer"})
    tested = ann.ask("POST", "/api/v1/connections/test", {"address": "203.0.113.7"})
    audit = ann.get("/api/v1/audit")
    for answer in (live, queue, listed, wrong, unknown, missing, named, tested, audit):
        assert is_safe(answer), answer.text
    assert tested.json["comment"] == comment
    text = ann.get("/api/v1/connections/lists/deny", accept="text/plain")
    assert text.headers["Content-Type"].startswith("text/plain")
    assert text.headers["X-Content-Type-Options"] == "nosniff"
    ann.ask("DELETE", f"/api/v1/tokens/{named.json['id']}")
    ann.ask("PATCH", "/api/v1/connections/lists/deny", {"remove": ["203.0.113.7"]})
    ann.ask("DELETE", f"/api/v1/queue/{item['id']}")


def test_no_header_can_be_made_by_what_was_sent(gateway, ann):
    """Everything that comes back in a header is of the program, not of the request."""
    message = make_message(subject="x")
    with gateway.client() as client:
        client.hello()
        client.delivers(message, "a@source.example", "b@sink.example")
    for target in (
        "/api/v1/queue?cursor=%0d%0aSet-Cookie:%20a=b",
        "/api/v1/queue/%0d%0aSet-Cookie:%20a=b",
        "/api/v1/none%0d%0aSet-Cookie:%20a=b",
        "/none%0d%0aSet-Cookie:%20a=b",
    ):
        answer = ann.get(target)
        assert "Set-Cookie" not in answer.headers, target
        assert is_safe(answer) or answer.status == 404
    answer = ann.get("/api/v1/status", if_match='"a"\tb', accept="x" * 3000)
    assert answer.status == 200
