"""outside: a client whose address is none of this host's, by a network namespace and a pair of
virtual interfaces. Needs root and iproute2."""

import ctypes
import os
import subprocess
import threading
from pathlib import Path

from .client import Client
from .places import free_port

_CLONE_NEWNET = 0x40000000


class Outside:
    """`host` is the address by which the inside is reached, `address` the one outside."""

    def __init__(self):
        number = free_port()  # as good a unique number as any
        self.name = f"pt{number}"
        self.host = f"10.{200 + number // 65536}.{number // 256 % 256}.{number % 256 // 4 * 4 + 1}"
        self.address = self.host.rpartition(".")[0] + f".{int(self.host.rpartition('.')[2]) + 1}"

    def __enter__(self) -> "Outside":
        self._ip("netns", "add", self.name)
        try:
            self._ip(
                "link",
                "add",
                f"{self.name}h",
                "type",
                "veth",
                "peer",
                "name",
                "out",
                "netns",
                self.name,
            )
            self._ip("address", "add", f"{self.host}/30", "dev", f"{self.name}h")
            self._ip("link", "set", f"{self.name}h", "up")
            self._ip("-n", self.name, "address", "add", f"{self.address}/30", "dev", "out")
            self._ip("-n", self.name, "link", "set", "out", "up")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc) -> None:
        self._ip("netns", "delete", self.name)  # which takes the interfaces with it

    @staticmethod
    def _ip(*words: str) -> None:
        run = subprocess.run(["ip", *words], capture_output=True, text=True)
        assert run.returncode == 0, f"ip {' '.join(words)}: {run.stderr}"

    def client(self, port: int, **more) -> Client:
        """Connects from outside. A socket stays in the namespace of the thread that made it."""
        made: list = []

        def connect() -> None:
            with open(Path("/run/netns") / self.name) as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    made.append(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
                    return
            try:
                made.append(Client(self.host, port, **more))
            except BaseException as error:
                made.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
        if isinstance(made[0], BaseException):
            raise made[0]
        return made[0]
