"""Memory: bounded whatever comes, and nobody waits in a circle for it."""

import dataclasses
import hashlib
import json
import os
import selectors
import socket
import time
from pathlib import Path

import pytest

from lib import SILENT, Hop, MemoryLimit, Postern, free_port, make_message, split_trace

SESSIONS = int(os.environ.get("POSTERN_MEMORY_SESSIONS", "2000"))
OCTETS = int(os.environ.get("POSTERN_MEMORY_OCTETS", "400000"))  # of a message; by hand: 10485760
LIMIT = 256 << 20
LINE = b"x" * 998 + b"\r\n"
CHUNK = LINE * 64
PATIENCE = 240 + SESSIONS * OCTETS // 10_000_000  # seconds


class Sender:
    """One client, without blocking: its message to the middle, and on when it is told."""

    def __init__(self, number: int, port: int):
        self.number = number
        self.head = make_message(f"number {number}", b"")
        self.lines = OCTETS // len(LINE)
        self.sent = 0  # octets of the message
        self.pause_at = (len(self.head) + self.lines * len(LINE)) * 3 // 4
        self.answer = b""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._say(b"EHLO c.example\r\n", b"250 ")
        self._say(f"MAIL FROM:<n{number}@source.example>\r\n".encode(), b"250 ")
        self._say(b"RCPT TO:<b@stuck.example>\r\n", b"250 ")
        self._say(b"DATA\r\n", b"354 ")
        self.socket.setblocking(False)

    def _say(self, octets: bytes, wanted: bytes) -> None:
        self.socket.sendall(octets)
        got = b""
        while not (got.endswith(b"\r\n") and wanted in got):
            more = self.socket.recv(4096)
            got += more
            assert more and b"\r\n4" not in got and not got.startswith(b"4"), got

    @property
    def size(self) -> int:
        return len(self.head) + self.lines * len(LINE)

    def digest(self) -> str:
        whole = hashlib.sha1(self.head)
        for _ in range(self.lines):
            whole.update(LINE)
        return whole.hexdigest()

    def push(self, until: int) -> bool:
        """Sends what the socket takes; true when it has sent so much."""
        while self.sent < until:
            if self.sent < len(self.head):
                part = self.head[self.sent :]
            else:
                part = CHUNK[(self.sent - len(self.head)) % len(LINE) :]
            try:
                self.sent += self.socket.send(part[: until - self.sent])
            except BlockingIOError:
                return False
        return True


def push_all(senders: list[Sender], until, seconds: float) -> None:
    """Lets all of them send; returns when each has sent `until(sender)`."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for sender in senders:
            selector.register(sender.socket, selectors.EVENT_WRITE, sender)
        while selector.get_map():
            assert time.monotonic() < end, f"{len(selector.get_map())} of them got no further"
            for key, _ in selector.select(1.0):
                if key.data.push(until(key.data)):
                    selector.unregister(key.fileobj)


def end_all(senders: list[Sender], seconds: float) -> None:
    """Each ends its message and gets its answer."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for sender in senders:
            sender.socket.setblocking(True)
            sender.socket.sendall(b".\r\n")
            selector.register(sender.socket, selectors.EVENT_READ, sender)
        while selector.get_map():
            assert time.monotonic() < end, f"{len(selector.get_map())} of them got no answer"
            for key, _ in selector.select(1.0):
                more = key.fileobj.recv(4096)
                key.data.answer += more
                if not more or key.data.answer.endswith(b"\r\n"):
                    selector.unregister(key.fileobj)


def digest_only(message):
    """A message without its content, which would fill this process instead."""
    whole = hashlib.sha1(split_trace(message.content)[1]).hexdigest()
    return dataclasses.replace(message, content=whole.encode())


def gateway_pid(supervisor: int) -> int:
    """The process that handles mail."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return next(
        int(pid)
        for pid in children
        if b"gateway" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    )


def resident_peak(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("\nVmHWM:")[2].split()[0]) * 1024


def small_message(gateway: Postern) -> float:
    """Sends one and returns how long it took until its 250."""
    start = time.monotonic()
    with gateway.client(timeout=30) as client:
        client.hello()
        client.delivers(make_message("small"))
    return time.monotonic() - start


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
def test_two_thousand_messages_under_way_at_once_in_little_memory(capsys):
    """Each in the middle of its data, to a next hop that takes nothing."""
    stuck = free_port()
    routes = [{"domain": "stuck.example", "next_hops": [{"host": "127.0.0.1", "port": stuck}]}]
    with MemoryLimit(LIMIT) as limit, Hop() as good:
        routes.append({"domain": "*", "next_hops": [{"host": "127.0.0.1", "port": good.port}]})
        settings = {"delivery": {"routes": routes}}
        with Postern(settings=settings, limit=limit) as gateway:
            senders, clock = [], [time.monotonic()]
            with Hop({"CONNECT": SILENT}, port=stuck):
                pid = gateway_pid(gateway.process.pid)
                senders += [Sender(n, gateway.port) for n in range(SESSIONS)]
                push_all(senders, lambda sender: sender.pause_at, PATIENCE)
                clock.append(time.monotonic())
                waits = [small_message(gateway) for _ in range(5)]
                good.wait_for(5)
                status = json.loads(gateway.cli("status", "--json"))
                assert status["sessions"]["now"] == SESSIONS
                assert status["memory"]["receiving"] <= status["memory"]["receiving_max"]
                push_all(senders, lambda sender: sender.size, PATIENCE)
                end_all(senders, PATIENCE)
                clock.append(time.monotonic())
                waits += [small_message(gateway) for _ in range(5)]
                good.wait_for(10)
            for sender in senders:
                sender.socket.close()
            taken = {f"n{s.number}@source.example": s for s in senders if s.answer[:4] == b"250 "}
            refused = [s.answer for s in senders if s.answer[:4] != b"250 "]
            assert all(answer.startswith(b"4") for answer in refused), refused[:3]
            with Hop(port=stuck, keep=digest_only) as hop:
                gateway.cli("queue", "retry", "--all")
                arrived = hop.wait_for(len(taken), PATIENCE)
                gateway.settle()
            clock.append(time.monotonic())
            assert gateway_pid(gateway.process.pid) == pid, "it was not started anew"
            assert limit.killed() == 0
            peak = resident_peak(pid)
        with capsys.disabled():
            print(
                f"\n{SESSIONS} × {OCTETS} octets, {limit.kind}: {len(taken)} taken, "
                f"{len(refused)} told to come again; resident at most {peak >> 20} MB; "
                f"a small message took {max(waits):.2f} s at most; middle, end, delivered after "
                + ", ".join(f"{now - clock[0]:.0f} s" for now in clock[1:])
            )
    assert peak < LIMIT
    assert len(taken) >= SESSIONS // 2
    assert {m.reverse_path for m in arrived} == set(taken)
    damaged = [m.reverse_path for m in arrived if m.content.decode() != taken[m.reverse_path].digest()]
    assert not damaged
