"""What passes through the console in pieces: long bodies both ways, and the stream of events."""

import contextlib
import pathlib
import socket
import time

import pytest

from lib import Browser, Postern, console_url, free_port

pytestmark = pytest.mark.asan

PASSWORD = "correct horse battery"
MIB = 1024 * 1024


def console_pid(gateway) -> int:
    """The child that is the console; the other one is the gateway."""
    for task in pathlib.Path(f"/proc/{gateway.process.pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            words = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"console" in words[:2]:
                return int(child)
    raise AssertionError("there is no console")


def memory_peak(pid: int) -> int:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def gateway():
    with Postern(free_port()) as gateway:
        for name, role in (("ann", "administrator"), ("oli", "operator"), ("vic", "viewer")):
            gateway.cli("admin", "add", name, "--role", role, stdin=PASSWORD)
        yield gateway


@pytest.fixture
def ann(gateway):
    browser = Browser(console_url(gateway))
    browser.log_in("ann", PASSWORD)
    return browser


def head_of(browser, target: str, method: str = "POST", **headers) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if browser.cookie:
        lines += [f"Cookie: postern_session={browser.cookie}"]
    if browser.csrf:
        lines += [f"X-CSRF-Token: {browser.csrf}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@contextlib.contextmanager
def dial(browser):
    with socket.create_connection((browser.url.hostname, browser.url.port), 120) as connection:
        yield connection


def read_head(connection) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(1)
        assert piece, got
        got += piece
    return got


def lines_of_a_list(count: int) -> bytes:
    return b"".join(
        b"%d.%d.%d.%d\n" % (20 + (n >> 24), n >> 16 & 255, n >> 8 & 255, n & 255)
        for n in range(count)
    )


def import_in_chunks(ann, lines: bytes) -> bytes:
    with dial(ann) as connection:
        connection.sendall(
            head_of(
                ann,
                "/api/v1/connections/lists/deny?replace=true",
                Content_Type="text/plain",
                Transfer_Encoding="chunked",
                Connection="close",
            )
        )
        for at in range(0, len(lines), 50_000):
            piece = lines[at : at + 50_000]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_a_long_import_is_not_held_in_the_console(gateway, ann):
    lines = lines_of_a_list(200_000)
    lines += b"# a long comment, which counts like every other octet\n" * 400_000
    assert len(lines) > 20 * MIB
    pid = console_pid(gateway)
    ann.get("/api/v1/me")
    before = memory_peak(pid)
    answer = import_in_chunks(ann, lines)
    assert status_of(answer) == 200, answer[:600]
    assert b'"added":200000' in answer
    got = ann.get("/api/v1/connections/lists/deny", accept="text/plain")
    assert got.body.count(b"\n") >= 200_000
    assert memory_peak(pid) - before < 12 * MIB
    ann.ask("POST", "/api/v1/connections/lists/deny?replace=true", "", content_type="text/plain")


def test_an_import_that_breaks_off_changes_nothing(gateway, ann):
    revision = ann.get("/api/v1/status").json["revision"]
    for ending in (b"", b"zz\r\n", b"5\r\n1.2.3"):
        with dial(ann) as connection:
            connection.sendall(
                head_of(
                    ann,
                    "/api/v1/connections/lists/deny",
                    Content_Type="text/plain",
                    Transfer_Encoding="chunked",
                )
                + b"9\r\n192.0.2.1\r\n"
                + ending
            )
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    answer += piece
        assert answer == b"" or status_of(answer) == 400
    assert ann.get("/api/v1/status").json["revision"] == revision


def test_a_body_is_not_asked_for_before_it_is_known_who_sends_it(gateway):
    """The answer to a stranger comes though hardly any of the body has been sent."""
    stranger = Browser(console_url(gateway))
    with dial(stranger) as connection:
        connection.sendall(
            head_of(
                stranger,
                "/api/v1/connections/lists/deny",
                Content_Type="text/plain",
                Content_Length=60_000,
                Expect="100-continue",
            )
        )
        assert status_of(read_head(connection)) == 401


def test_continue_is_said_when_the_body_is_wanted(ann):
    with dial(ann) as connection:
        connection.sendall(
            head_of(
                ann,
                "/api/v1/connections/test",
                Content_Type="application/json",
                Content_Length=23,
                Expect="100-continue",
            )
        )
        assert status_of(read_head(connection)) == 100
        connection.sendall(b'{"address":"192.0.2.1"}')
        assert status_of(read_head(connection)) == 200


def test_slow_readers_of_a_long_answer_hold_no_memory_and_let_go(gateway, ann):
    ann.ask(
        "POST",
        "/api/v1/connections/lists/permit?replace=true",
        lines_of_a_list(200_000),
        content_type="text/plain",
    )
    pid = console_pid(gateway)
    before = memory_peak(pid)
    target = "/api/v1/connections/lists/permit"
    slow = []
    for _ in range(20):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(120)
        connection.connect((ann.url.hostname, ann.url.port))
        connection.sendall(head_of(ann, target, "GET", Accept="text/plain"))
        assert status_of(read_head(connection)) == 200
        slow.append(connection)
    # Others are served meanwhile, and each of these holds a piece at most.
    assert ann.get("/api/v1/me").status == 200
    assert memory_peak(pid) - before < 20 * MIB
    for connection in slow:
        connection.close()
    whole = ann.get(target, accept="text/plain")
    assert whole.body.count(b"\n") >= 200_000
    wait_for(lambda: open_sockets(pid) < 20)


def open_sockets(pid: int) -> int:
    count = 0
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count


def wait_for(condition, seconds: float = 60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
