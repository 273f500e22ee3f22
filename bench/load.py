"""load: a source and a sink around the server under test: Postfix's smtp-source and smtp-sink, or
where these are what one would measure, postern-source and postern-sink."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import peers
import proc

STALL = 60.0  # seconds without a single message at the sink: something is broken
SOURCE_LIMIT = 240.0  # seconds for one smtp-source


class Stalled(Exception):
    """Messages stopped arriving at the sink."""


class Sink:
    """A program that takes every message. It writes to a file whenever one has ended; only what is
    new in that file is looked at, which costs the machine next to nothing."""

    def __init__(self, folder: Path):
        self.port = peers.free_port()
        self.path = folder / "sink-counters"
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(
                self.command(),
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=proc.die_with_parent,
            )
        peers.wait_for_greeting(self.port, self.process, self.path)
        self.counters = os.open(self.path, os.O_RDONLY)

    def command(self) -> list[str]:
        return [
            *peers.postfix_tool("smtp-sink"),
            *("-c", "-u", "root", "-m", "4096", f"127.0.0.1:{self.port}", "4096"),
        ]

    def count(self) -> int:
        """Messages that have arrived."""
        size = os.fstat(self.counters).st_size
        tail = os.pread(self.counters, 200, max(0, size - 200)).replace(b"\n", b"\r")
        whole = [line for line in tail.split(b"\r")[1:-1] if b"mesg=" in line]
        return int(whole[-1].rpartition(b"=")[2]) if whole else 0

    def wait_for(self, count: int) -> None:
        seen, moved = -1, time.monotonic()
        while (now := self.count()) < count:
            if now != seen:
                seen, moved = now, time.monotonic()
            elif time.monotonic() - moved > STALL:
                raise Stalled(f"{now} of {count} messages arrived, then none for {STALL:.0f} s")
            time.sleep(0.004)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.counters)

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


class FastSink(Sink):
    """A postern-sink, which reads large messages many times as fast; a line for each."""

    def __init__(self, folder: Path, programs: Path, tls: Path | None = None):
        self.program = programs / "postern-sink"
        self.tls = tls  # certificate and key
        self.seen = self.lines = 0
        super().__init__(folder)

    host = "127.0.0.1"

    def command(self) -> list[str]:
        tls = ["--tls", str(self.tls)] if self.tls else []
        return [str(self.program), "--listen", f"{self.host}:{self.port}", *tls]

    def count(self) -> int:
        while new := os.pread(self.counters, 1 << 16, self.seen):
            self.seen += len(new)
            self.lines += new.count(b"\n")
        return self.lines - 1  # the first says where it listens


class WideSink(FastSink):
    """The same at each address of loopback: next hops that are several."""

    host = "0.0.0.0"


@dataclass(frozen=True)
class Shape:
    """What the source sends: octets of a message, sessions side by side, and whether a session is
    kept for many messages. `programs`: the folder of postern-source, if that is to be used."""

    size: int
    sessions: int
    kept: bool = False
    programs: Path | None = None
    tls: bool = False  # from the server to the sink
    tls_in: bool = False  # from the source to the server
    recipients: int = 1  # of each message, with programs
    domains: int = 1  # that they are in, each with a next hop of its own

    @property
    def tools(self) -> tuple[str, str]:
        """Source and sink."""
        return (
            ("postern-source", "postern-sink") if self.programs else ("smtp-source", "smtp-sink")
        )

    def __str__(self) -> str:
        size = f"{self.size >> 20} MB" if self.size >= 1 << 20 else f"{self.size >> 10} KB"
        return (
            f"{size} × {self.sessions}"
            + (", connections kept" if self.kept else ", a connection a message")
            + (", TLS to the next hop" if self.tls else "")
            + (", TLS from the clients" if self.tls_in else "")
            + (
                f", {self.recipients} recipients at {self.domains} destinations"
                if self.domains > 1
                else ""
            )
        )

    def source(self, port: int, messages: int, recipient: str) -> list[str]:
        if self.programs:
            return [
                str(self.programs / "postern-source"),
                *(["--kept"] if self.kept else []),
                *(["--tls"] if self.tls_in else []),
                *("--sessions", str(self.sessions), "--size", str(self.size)),
                *("--messages", str(messages), "--to", f"127.0.0.1:{port}"),
                *("--from", "a@source.example", "--recipient", recipient),
                *("--recipients", str(self.recipients), "--domains", str(self.domains)),
            ]
        return [
            *peers.postfix_tool("smtp-source"),
            *(["-d"] if self.kept else []),
            "-s",
            str(self.sessions),
            "-l",
            str(self.size),
            "-m",
            str(messages),
            "-f",
            "a@source.example",
            "-t",
            recipient,
            f"127.0.0.1:{port}",
        ]


def send(shape: Shape, port: int, messages: int, recipient: str = "b@sink.example") -> None:
    try:
        run = subprocess.run(
            shape.source(port, messages, recipient),
            capture_output=True,
            text=True,
            timeout=SOURCE_LIMIT,
            preexec_fn=proc.die_with_parent,
        )
    except subprocess.TimeoutExpired:
        raise Stalled(f"{shape.tools[0]} did not end within {SOURCE_LIMIT:.0f} s") from None
    if run.returncode != 0 or "fatal" in run.stderr:
        raise Stalled(f"{shape.tools[0]}: {run.stderr.strip()[-400:]}")


@dataclass(frozen=True)
class Run:
    seconds: float  # from the start of the source to the arrival of the last message
    messages: int
    used: proc.Usage

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu(self) -> float:
        """Seconds per 1,000 messages."""
        return self.used.cpu * 1000 / self.messages

    @property
    def written(self) -> float:
        """Octets per message."""
        return self.used.written / self.messages


def run(shape: Shape, server, sink: Sink, messages: int) -> Run:
    """Sends through the server and waits for the last message at the sink."""
    arrived = sink.count()
    before, start = proc.usage(server.pid), time.monotonic()
    send(shape, server.port, messages)
    sink.wait_for(arrived + messages * shape.domains)
    seconds = time.monotonic() - start
    server.settle()  # what is still to be done for these messages counts as their cost
    return Run(seconds, messages, proc.usage(server.pid) - before)


def ceiling(shape: Shape, sink: Sink, messages: int) -> float:
    """Messages a second from source straight to sink: no server can show more."""
    arrived, start = sink.count(), time.monotonic()
    send(shape, sink.port, messages)
    sink.wait_for(arrived + messages)
    return messages / (time.monotonic() - start)
