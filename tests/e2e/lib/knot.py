"""knot: a world of names that are signed, served by a real name server (Debian's knot, unpacked).

    with Knot({"": Zone("test 60 NS ns.test."), "good.test": Zone(text)}) as knot: ...

Zones are given by name, "" is the root; each gets its SOA and NS by itself. A zone's keys are made
for the test, its DS stands in the nearest zone above it that is signed, and `knot.settings` has the
server and the root's DS as trust anchor, so that answers are validated from the root down. Zones may
lie: with signatures that have run out, or data changed after it was signed.
"""

import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .places import free_port, temporary_folder

_SOA = "@ 60 SOA ns.test. host.test. 1 3600 600 86400 5\n@ 60 NS ns.test.\n"
_START_LIMIT = 30.0


@dataclass
class Zone:
    text: str  # of the zone file, without SOA and NS
    signed: bool = True
    signed_days_ago: int = 0  # signatures last for 14 days
    changed: tuple[str, str] | None = None  # replaced in the file after signing
    delegated: bool = True  # with its DS in the zone above; False: its signatures lead nowhere


class Knot:
    def __init__(
        self, zones: dict[str, Zone], *, namespace: str | None = None, host: str = "127.0.0.53"
    ):
        self.zones = zones
        self.host = host if namespace else "127.0.0.1"
        self.port = 53 if namespace else free_port()
        self.server = f"{self.host}@{self.port}"
        self._inside = ["ip", "netns", "exec", namespace] if namespace else []
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Knot":
        import peers  # below bench/, where conftest.py finds it

        self._root = peers.fetch("knot")
        self._libraries = next((self._root / "usr/lib").glob("*-linux-gnu"))
        self._folder = temporary_folder()
        self._work = self._folder.__enter__()
        try:
            for name in ("run", "db", "files", "out"):
                (self._work / name).mkdir()
            self._sign_all()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc) -> None:
        self.stop()
        self._folder.__exit__(*exc)

    @property
    def settings(self) -> dict:
        return {"resolver": {"servers": [self.server], "trust_anchor": self.anchor}}

    # ---- zones ----

    def _sign_all(self) -> None:
        """Children before their parents, which hold their DS."""
        self._texts = {name: _SOA + zone.text + "\n" for name, zone in self.zones.items()}
        for name in sorted(self.zones, key=lambda name: -len(name.split(".")) * bool(name)):
            zone = self.zones[name]
            (self._work / "files" / _file(name)).write_text(self._texts[name])
            ds = self._sign(name, zone) if zone.signed else ""
            if name == "":
                self.anchor = ds or "none"
            elif zone.delegated:
                self._texts[self._parent_of(name)] += f"{name}. 60 NS ns.test.\n{ds}\n"
        for name, zone in self.zones.items():
            if zone.signed:
                self._publish(name, zone)

    def _parent_of(self, name: str) -> str:
        above = [other for other in self.zones if other == "" or name.endswith("." + other)]
        return max((n for n in above if n != name), key=len)

    def _configuration(self, *, signing: bool) -> Path:
        path = self._work / ("sign.conf" if signing else "serve.conf")
        zones = "".join(
            f'  - domain: "{name}."\n    storage: "{self._folder_of(zone, signing)}"\n'
            f'    file: "{_file(name)}"\n'
            + ("    dnssec-signing: on\n    dnssec-policy: own\n" if signing else "")
            for name, zone in self.zones.items()
        )
        path.write_text(
            f'server:\n  listen: {self.server}\n  rundir: "{self._work}/run"\n  user: root\n'
            "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
            "log:\n  - target: stderr\n    any: info\n"
            f'database:\n  storage: "{self._work}/db"\n'
            "policy:\n  - id: own\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n"
            "    rrsig-lifetime: 14d\n    rrsig-refresh: 7d\n    cds-cdnskey-publish: none\n"
            "template:\n  - id: default\n    semantic-checks: off\n    zonefile-load: whole\n"
            f"    journal-content: none\nzone:\n{zones}"
        )
        return path

    def _folder_of(self, zone: Zone, signing: bool) -> Path:
        return self._work / ("files" if signing or not zone.signed else "out")

    def _tool(self, path: str, *words: str) -> str:
        run = subprocess.run(
            [str(self._root / path), "-c", str(self._configuration(signing=True)), *words],
            capture_output=True,
            text=True,
            env=self._environment(),
        )
        assert run.returncode == 0, f"{path} {' '.join(words)}: {run.stdout}{run.stderr}"
        return run.stdout

    def _sign(self, name: str, zone: Zone) -> str:
        """Signs it; returns its DS."""
        when = ["-t", str(int(time.time()) - zone.signed_days_ago * 86400)]
        self._tool("usr/bin/kzonesign", "-o", str(self._work / "out"), "-r", *when, f"{name}.")
        return self._tool("usr/sbin/keymgr", f"{name}.", "ds").splitlines()[0]

    def _publish(self, name: str, zone: Zone) -> None:
        if zone.changed:
            path = self._work / "out" / _file(name)
            text = path.read_text()
            assert zone.changed[0] in text, text
            path.write_text(text.replace(*zone.changed))

    # ---- the server ----

    def _environment(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(self._libraries), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def start(self) -> None:
        """Begins to serve, or does so again."""
        assert self._process is None
        self._log = open(self._work / "log", "ab")
        configuration = self._configuration(signing=False)
        self._process = subprocess.Popen(
            [*self._inside, str(self._root / "usr/sbin/knotd"), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self._environment(),
        )
        waiting, answered = threading.Event(), False
        for _ in range(int(_START_LIMIT / 0.05)):
            answered = answered or "server started" in (self._work / "log").read_text()
            if answered or self._process.poll() is not None:
                break
            waiting.wait(0.05)
        assert answered and self._process.poll() is None, (self._work / "log").read_text()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        self._log.close()
        (self._work / "log").rename(self._work / "log.old")


def _file(name: str) -> str:
    return (name or "root") + ".zone"
