"""The stream of events: what is told, resumed, missed, and when it ends."""

import json
import socket
import subprocess
import time

import pytest

from lib import BINARY, Browser, Events, Postern, Sink, console_url, free_port, make_message

pytestmark = pytest.mark.asan

PASSWORD = "correct horse battery"
STATES = ["settings", "pending", "status", "connections", "queue"]


@pytest.fixture(scope="module")
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(sink):
    with Postern(sink) as gateway:
        for name, role in (("ann", "administrator"), ("vic", "viewer")):
            gateway.cli("admin", "add", name, "--role", role, stdin=PASSWORD)
        yield gateway


def browser_of(gateway, name: str = "ann") -> Browser:
    browser = Browser(console_url(gateway))
    browser.log_in(name, PASSWORD)
    return browser


@pytest.fixture(params=["socket", "console"])
def source(gateway, request):
    return gateway if request.param == "socket" else browser_of(gateway, "vic")


def send_one(gateway, body: bytes = b"hello\r\n", helo: str | None = None):
    with gateway.client() as client:
        client.hello()
        client.delivers(make_message(body=body), "a@source.example", "b@sink.example")


def test_everything_is_told_as_it_is_and_then_as_it_changes(gateway, source):
    with Events(source) as events:
        assert events.status == 200
        assert events.headers["Content-Type"] == "text/event-stream"
        assert events.headers["Cache-Control"] == "no-store"
        assert events.headers["X-Content-Type-Options"] == "nosniff"
        seen = {}
        while len(seen) < len(STATES):
            kind, data = events.next()
            seen[kind] = data
        assert sorted(seen) == sorted(STATES)
        assert seen["pending"] is None and seen["status"]["accepting"] is True
        send_one(gateway)
        received = events.until("message", lambda e: e["event"] == "received")
        delivered = events.until("message", lambda e: e["event"] == "delivered")
        assert received["id"] == delivered["id"] and len(received["id"]) == 11
        assert received["reverse_path"] == "a@source.example"
        total = events.until("queue", lambda q: q["delivered"] >= 1)
        assert total["accepted"] >= 1
        patch = {"identity": {"greeting": f"ESMTP {time.monotonic_ns()}"}}
        done = gateway.api("PATCH", "/api/v1/settings?confirm_within=600", patch)
        assert done[0] == 200
        revision = events.until("settings")["revision"]
        assert revision > seen["settings"]["revision"]
        pending = events.until("pending")
        assert pending["revision"] == revision and pending["before"] < revision
        assert gateway.api("POST", "/api/v1/settings/confirm")[0] in (200, 204)
        assert events.until("pending") is None


def test_connections_are_counted(gateway):
    with Events(gateway, "?types=connections") as events:
        before = events.next()[1]
        with gateway.client() as client:
            client.hello()
            now = events.until("connections", lambda c: c["now"] > before["now"])
            assert now["total"] > before["total"]
        assert events.until("connections", lambda c: c["now"] == before["now"])


def test_only_what_was_asked_for_is_told(gateway, source):
    with Events(source, "?types=message") as events:
        send_one(gateway)
        kinds = {events.next()[0] for _ in range(2)}
        assert kinds == {"message"}
    with Events(source, "?types=messages") as events:
        assert events.status == 400
    with Events(source, "?kinds=message") as events:
        assert events.status == 400


def test_a_refused_client_is_told(gateway):
    with Events(gateway, "?types=refusal") as events:
        lists = {"add": ["127.0.0.99"]}
        assert gateway.api("PATCH", "/api/v1/connections/lists/deny", lists)[0] == 200
        with socket.create_connection(
            ("127.0.0.1", gateway.port), 30, source_address=("127.0.0.99", 0)
        ) as refused:
            assert refused.recv(100).startswith(b"554 ")
        event = events.until("refusal")
        assert event["event"] == "refused" and "127.0.0.99" in json.dumps(event)
        gateway.api("PATCH", "/api/v1/connections/lists/deny", {"remove": ["127.0.0.99"]})


def test_who_comes_back_misses_nothing(gateway, source):
    with Events(source, "?types=message") as events:
        send_one(gateway)
        first = events.until("message", lambda e: e["event"] == "received")
        last = events.last
    send_one(gateway)
    send_one(gateway)
    with Events(source, "?types=message", last=last) as events:
        ids = [
            events.until("message", lambda e: e["event"] == "received")["id"] for _ in range(2)
        ]
    assert first["id"] not in ids and len(set(ids)) == 2


def test_who_comes_back_to_another_start_is_told_so(gateway):
    for last in ("0123456789abcdef-7", "nonsense", "-", "0-99999999999999999999999"):
        with Events(gateway, last=last) as events:
            assert events.next() == ("missed", {"count": None})


def test_a_reader_that_does_not_read_is_told_what_it_missed(gateway):
    """The ring keeps 4,096 events, a socket some hundred kilobytes; messages do not wait."""
    with Events(gateway, "?types=message") as slow, Events(gateway, "?types=message") as quick:
        total = 3000
        sent = 0
        while sent < total:
            with gateway.client() as client:
                client.hello()
                for _ in range(min(100, total - sent)):
                    client.delivers(make_message(), "a@source.example", "b@sink.example")
                    sent += 1
            # The quick one is given everything all the while.
            for _ in range(100):
                quick.until("message", lambda e: e["event"] == "received")
        seen = missed = 0
        slow.socket.settimeout(20)
        while seen + missed < 2 * total:
            kind, data = slow.next()
            if kind == "missed":
                missed += data["count"]
            else:
                seen += 1
        assert missed > 0 and seen > 100 and seen + missed == 2 * total


# ---- the end ----


def ends(events) -> bool:
    events.socket.settimeout(30)
    while events.next():
        pass
    return True


@pytest.mark.parametrize("how", ["log-out", "everywhere", "password", "role", "removal"])
def test_the_stream_ends_with_the_session(gateway, how):
    ann = browser_of(gateway)
    name = f"x-{how}"
    gateway.cli("admin", "add", name, "--role", "viewer", stdin=PASSWORD)
    victim = browser_of(gateway, name)
    other = browser_of(gateway, "vic")
    with Events(victim) as events, Events(other) as still:
        assert events.next() and still.next()
        if how == "log-out":
            assert victim.ask("POST", "/api/v1/logout").status == 204
        elif how == "everywhere":
            browser = browser_of(gateway, name)
            assert browser.ask("POST", "/api/v1/logout?everywhere=true").status == 204
        elif how == "password":
            gateway.cli("admin", "passwd", name, stdin="another password")
        elif how == "role":
            role = {"role": "operator"}
            assert ann.ask("PATCH", f"/api/v1/admins/{name}", role).status == 200
        else:
            gateway.cli("admin", "remove", name)
        assert ends(events)
        send_one(gateway)
        assert still.until("message")
    if how != "removal":
        gateway.cli("admin", "remove", name)


def test_the_stream_of_a_token_ends_with_it(gateway):
    ann = browser_of(gateway)
    made = ann.ask("POST", "/api/v1/tokens", {"name": "watch", "role": "viewer"}).json
    program = Browser(console_url(gateway))
    program.bearer = made["token"]
    with Events(program) as events:
        assert events.next()
        assert ann.ask("DELETE", f"/api/v1/tokens/{made['id']}").status == 204
        assert ends(events)


def test_streams_have_a_limit_and_leave_room_for_others(gateway):
    vic = browser_of(gateway, "vic")
    streams = []
    try:
        for _ in range(13):
            streams.append(Events(vic))
        assert [s.status for s in streams] == [200] * 12 + [503]
        assert int(streams[-1].headers["Retry-After"]) > 0
        assert vic.get("/api/v1/status").status == 200
        streams.pop(0).close()
        gateway.wait_until(lambda: opens(vic), "the place of the one that has left")
    finally:
        for stream in streams:
            stream.close()


def opens(browser) -> bool:
    with Events(browser) as events:
        return events.status == 200


def test_streams_end_with_the_gateway(sink):
    with Postern(sink) as gateway:
        gateway.cli("admin", "add", "ann", stdin=PASSWORD)
        with Events(gateway) as straight, Events(browser_of(gateway)) as passed:
            assert straight.next() and passed.next()
            assert gateway.stop() == 0
            assert ends(straight) and ends(passed)


# ---- what strangers say ----


def test_no_peer_can_make_an_event(gateway, source):
    """Line ends and markup in what a client says stay inside one line of JSON."""
    with Events(source, "?types=message") as events:
        with gateway.client() as client:
            client.says("EHLO <script>alert(1)</script>")
            client.reply()
            client.says('MAIL FROM:<"<img/src=x>"@source.example>').expect(250)
            client.says("RCPT TO:<b@sink.example>").expect(250)
            client.says("DATA").expect(354)
            client.sends("Message-ID: <a\u2028event: settings>\r\n\r\nx\r\n.\r\n")
            client.expect(250)
        event = events.until("message", lambda e: e["event"] == "received")
        assert "img/src=x" in event["reverse_path"]
        assert events.next()[0] == "message"


# ---- the command ----


def test_the_command_prints_what_happens(gateway):
    for words in ((), ("--json", "--types", "status,message")):
        process = subprocess.Popen(
            [str(BINARY), "events", "--state", str(gateway.state), *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            missing = {"status"} if words else set(STATES)
            while missing:
                line = process.stdout.readline()
                assert line
                missing.discard(json.loads(line)["type"] if words else line.split()[0])
            send_one(gateway)
            while "received" not in (line := process.stdout.readline()):
                assert line
            if words:
                event = json.loads(line)
                assert event["type"] == "message" and event["data"]["id"] and event["id"]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    wrong = gateway.cli("events", "--types", "nonsense", status=1)
    assert wrong.startswith("postern: types must be")
