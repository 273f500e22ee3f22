"""neighbour: a second network namespace, joined to an island's interface `one`; what stands there is
no address of the island's. Needs root."""

import subprocess

from .client import Client
from .island import Island


class Neighbour:
    def __init__(self, island: Island, *addresses: str):
        self._island = island
        self._addresses = addresses
        self.name = f"{island.name}n"

    def __enter__(self) -> "Neighbour":
        _ip("netns", "add", self.name)
        try:
            _ip("-n", self._island.name, "link", "set", "two", "netns", self.name)
            for device in ("lo", "two"):
                _ip("-n", self.name, "link", "set", device, "up")
            for address in self._addresses:
                self._add(address)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc) -> None:
        _ip("netns", "delete", self.name)

    def _add(self, address: str) -> None:
        six = ":" in address
        family, more = ("-6", ("nodad",)) if six else ("-4", ())
        _ip("-n", self.name, "address", "add", address, "dev", "two", *more)
        _ip("-n", self.name, family, "route", "replace", "default", "dev", "two")
        _ip("-n", self._island.name, family, "route", "replace", address, "dev", "one")

    def client(self, host: str, port: int, **more) -> Client:
        return self._island.run(lambda: Client(host, port, **more), namespace=self.name)


def _ip(*words: str) -> None:
    run = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert run.returncode == 0, f"ip {' '.join(words)}: {run.stderr}"
