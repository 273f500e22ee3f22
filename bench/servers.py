"""servers: the three that are compared, each behind the same few verbs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import peers
import proc


class Postern:
    """Postern as it is started by hand: `postern run`, settings from a file, nothing tuned."""

    name = "postern"
    title = "Postern"

    def __init__(
        self,
        binary: Path,
        work: Path,
        next_hop: int,
        *,
        routes: list[dict] | None = None,
        environment: dict[str, str] | None = None,
        tls: bool = False,
    ):
        self.binary = binary
        self.work = work
        self.port = peers.free_port()
        self.environment = environment or {}
        self.queued_for_ever = 0  # messages that will not be delivered, by intent
        self.settings = {
            "identity": {"hostname": "postern.example"},
            "connections": {"interface": {"address": "loopback", "port": self.port}},
            "delivery": {
                "routes": [
                    *(routes or []),
                    {
                        "domain": "*",
                        "next_hops": [{"host": "127.0.0.1", "port": next_hop}],
                        **({"tls": "encrypt"} if tls else {}),
                    },
                ]
            },
        }
        self.process: subprocess.Popen | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        document = self.work / "settings.json"
        document.write_text(json.dumps(self.settings))
        log = open(self.work / "log", "wb")
        self.process = subprocess.Popen(
            [
                self.binary,
                "run",
                "--state",
                self.work / "state",
                "--console",
                "127.0.0.1:0",
                "--apply",
                document,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **self.environment},
            preexec_fn=proc.die_with_parent,
        )
        log.close()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ready "):
                return
        raise peers.PeerError(
            f"postern did not get ready:\n{(self.work / 'log').read_text()[-4000:]}"
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None

    def queued(self) -> int:
        run = subprocess.run(
            [self.binary, "queue", "list", "--json", "--state", self.work / "state"],
            capture_output=True,
            text=True,
            check=True,
        )
        return int(json.loads(run.stdout)["total"]) - self.queued_for_ever

    def __enter__(self) -> Postern:
        self.start()
        return self

    def __exit__(self, *exc) -> None:
        self.stop()

    def settle(self) -> None:
        wait_until_empty(self)


class Postfix(peers.Postfix):
    title = "Postfix"

    def settle(self) -> None:
        wait_until_empty(self)


class OpenSmtpd(peers.OpenSmtpd):
    title = "OpenSMTPD"

    def settle(self) -> None:
        wait_until_empty(self)

    def queued(self) -> int:
        queue = self.work / "spool" / "smtpd" / "queue"
        return sum(1 for entry in queue.rglob("*") if entry.is_file())


def wait_until_empty(server, seconds: float = 60.0) -> None:
    """Returns when the server's queue is empty."""
    end = time.monotonic() + seconds
    while (left := server.queued()) > 0:
        if time.monotonic() > end:
            raise peers.PeerError(f"{server.title} still has {left} messages queued")
        time.sleep(0.05)


def make(
    name: str, binary: Path, work: Path, next_hop: int, *, sessions: int = 100, tls: bool = False
):
    """A server that is not yet started. `sessions`: as many must be held at a time; Postfix has a
    process for each, 100 by default. `tls`: nothing goes to the next hop in clear."""
    if name == "postern":
        return Postern(binary, work / "postern", next_hop, tls=tls)
    if name == "postfix":
        settings = {"smtp_tls_security_level": "encrypt"} if tls else {}
        limit = max(100, sessions)
        return Postfix(work / "postfix", next_hop, settings=settings, process_limit=limit)
    return OpenSmtpd(work / "opensmtpd", next_hop)


def version(name: str, binary: Path) -> str:
    if name != "postern":
        return peers.version(name)
    run = subprocess.run([binary, "--version"], capture_output=True, text=True)
    return run.stdout.split()[-1] if run.returncode == 0 and run.stdout else ""


def filesystem(path: Path) -> str:
    """The type of the file system that holds the path."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, fstype = line.split()[:3]
        if os.path.commonpath([mount, path.resolve()]) == mount and len(mount) >= len(best):
            best, kind = mount, fstype
    return kind
