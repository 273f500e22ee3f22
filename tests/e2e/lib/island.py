"""island: a network namespace of its own, with loopback and an interface `one`, for a gateway
and its clients. Nothing leads out of it. Needs root."""

import ctypes
import itertools
import os
import shutil
import subprocess
import threading
from pathlib import Path

from .client import Client

_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()


class Island:
    def __init__(self, *addresses: str, ipv6: bool = True, resolv_conf: str | None = None):
        self.name = f"pi{os.getpid()}x{next(_numbers)}"
        self._addresses = addresses
        self._ipv6 = ipv6
        # What programs begun inside see in place of /etc/resolv.conf; it may be written to.
        self.resolv_conf = Path("/etc/netns") / self.name / "resolv.conf"
        self._resolv_conf = resolv_conf

    def __enter__(self) -> "Island":
        _run("ip", "netns", "add", self.name)
        try:
            if not self._ipv6:
                for where in ("all", "default", "lo"):
                    self._inside("sysctl", "-qw", f"net.ipv6.conf.{where}.disable_ipv6=1")
            self._inside("ip", "link", "set", "lo", "up")
            self._inside("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
            for end in ("one", "two"):
                self._inside("ip", "link", "set", end, "up")
            for address in self._addresses:
                self.add(address)
            if self._resolv_conf is not None:
                self.resolv_conf.parent.mkdir(parents=True)
                self.resolv_conf.write_text(self._resolv_conf)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc) -> None:
        shutil.rmtree(self.resolv_conf.parent, ignore_errors=True)
        _run("ip", "netns", "delete", self.name)

    def add(self, address: str) -> None:
        more = ("nodad",) if ":" in address else ()
        self._inside("ip", "address", "add", address, "dev", "one", *more)

    def remove(self, address: str) -> None:
        self._inside("ip", "address", "delete", address, "dev", "one")

    def _inside(self, *words: str) -> None:
        _run("ip", "netns", "exec", self.name, *words)

    def client(self, host: str, port: int, **more) -> Client:
        return self.run(lambda: Client(host, port, **more))

    def run(self, make, namespace: str | None = None):
        """What `make` returns, called inside (or in another namespace): a socket stays in the
        namespace of the thread that made it, and so do threads begun there."""
        made: list = []

        def inside() -> None:
            try:
                with open(Path("/run/netns") / (namespace or self.name)) as where:
                    if ctypes.CDLL(None, use_errno=True).setns(
                        where.fileno(), _CLONE_NEWNET
                    ):
                        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                made.append(make())
            except BaseException as error:
                made.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if isinstance(made[0], BaseException):
            raise made[0]
        return made[0]

    def refuses(self, host: str, port: int) -> bool:
        try:
            self.client(host, port, timeout=5, greeting=None).close()
            return False
        except OSError:
            return True


def _run(*words: str) -> None:
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == 0, f"{' '.join(words)}: {run.stderr}"
