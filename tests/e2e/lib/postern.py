"""postern: the real program with a state folder of its own, started for one test."""

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from .client import Client
from .limits import MemoryLimit
from .places import ROOT, free_port, temporary_folder

BINARY = Path(
    os.environ.get("POSTERN_BINARY") or os.environ.get("POSTERN_BIN") or ROOT / "build" / "postern"
).resolve()
SIGNS_OF_BUGS = (
    "AddressSanitizer",
    "LeakSanitizer",
    "ThreadSanitizer",
    "runtime error:",
    "postern: bug at",
)
START_LIMIT = 30.0  # seconds, for a loaded machine and a sanitized program


class CommandFailed(AssertionError):
    """A postern command ended with another status than the test expects."""


def run_postern(
    *words: str | Path,
    state: Path | None = None,
    status: int | None = 0,
    stdin: str | None = None,
    environment: dict[str, str] | None = None,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess:
    """Runs one command; `status` is what it must end with (None: anything)."""
    command = [str(BINARY), *map(str, words), *(["--state", str(state)] if state else [])]
    run = subprocess.run(
        command,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(environment or {})},
    )
    if status is not None and run.returncode != status:
        raise CommandFailed(
            f"{shlex.join(command)}\nended with {run.returncode}, not {status}\n"
            f"stdout: {run.stdout}\nstderr: {run.stderr}"
        )
    return run


def merged(base: dict, patch: dict) -> dict:
    """A merge patch (RFC 7396) applied to a document."""
    result = dict(base)
    for key, value in patch.items():
        if isinstance(value, dict):
            result[key] = merged(result.get(key) or {}, value)
        elif value is None and key in result and isinstance(result[key], dict):
            del result[key]
        else:
            result[key] = value
    return result


class Postern:
    """`hops` are the next hops of the one route, by port or by an object that has one. `settings`
    is merged into the document. With `start=False` start() is left to the test. `wrap` is a command
    that runs it, such as prlimit."""

    def __init__(
        self,
        *hops,
        settings: dict | None = None,
        state: Path | None = None,
        port: int | None = None,
        start: bool = True,
        namespace: str | None = None,
        limit: MemoryLimit | None = None,
        wrap: tuple[str, ...] = (),
    ):
        self.port = port or free_port()
        self.document = merged(
            {
                "identity": {"hostname": "gw.example"},
                "connections": {"interface": {"address": "loopback", "port": self.port}},
                "delivery": {
                    "routes": [
                        {
                            "domain": "*",
                            "next_hops": [
                                {"host": "127.0.0.1", "port": getattr(hop, "port", hop)}
                                for hop in hops
                            ],
                        }
                    ]
                },
            }
            if hops
            else {
                "identity": {"hostname": "gw.example"},
                "connections": {"interface": {"address": "loopback", "port": self.port}},
            },
            settings or {},
        )
        self.clients: list[Client] = []
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []  # of standard output
        self._start = start
        self._namespace = namespace
        self._wrap = list(wrap)
        self._limit = limit
        self._stack = contextlib.ExitStack()
        self._given_state = state

    # ---- life ----

    def __enter__(self) -> "Postern":
        folder = self._stack.enter_context(temporary_folder())
        self.folder = folder
        self.state = self._given_state or folder / "state"
        self.log_path = folder / "log"
        self.log_path.touch()
        if self._start:
            try:
                self.start()
            except BaseException:
                self._show()
                self._stack.close()
                raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        for client in self.clients:
            client.close()
        try:
            if self.process is not None:
                status = self.stop()
                if kind is None:
                    assert status == 0, f"the gateway ended with status {status}\n{self.log()}"
                    self.check_log()
        except BaseException:
            kind = kind or AssertionError
            raise
        finally:
            if kind is not None:
                self._show()
            self.kill()
            self._stack.close()

    def write_document(self, document: dict | None = None) -> Path:
        path = self.folder / "settings.json"
        path.write_text(json.dumps(document or self.document, indent=1))
        return path

    def start(
        self, *words: str, apply: bool = True, ready: bool = True, loaded: bool = True
    ) -> "Postern":
        """Starts it and, unless told otherwise, waits for its ready line, and until all messages
        that were there are loaded."""
        assert self.process is None
        command = [str(BINARY), "run", "--state", str(self.state), "--console", "127.0.0.1:0"]
        command = [*self._wrap, *command]
        if self._namespace:
            command = ["ip", "netns", "exec", self._namespace, *command]
        if self._limit:
            command = [*self._limit.prefix, *command]
        if apply:
            command += ["--apply", str(self.write_document())]
        self._ready = threading.Event()
        self.lines = []
        with open(self.log_path, "ab") as log:
            log.write(f"--- {shlex.join([*command, *words])}\n".encode())
            self.process = subprocess.Popen(
                [*command, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(
            target=self._read, args=(self.process, self._ready, self.lines), daemon=True
        ).start()
        if ready:
            self.wait_until_ready()
        if ready and loaded:
            self.wait_until_loaded()
        return self

    def loading(self) -> dict | None:
        """How many messages of before the start are loaded; None: all."""
        return self.api("GET", "/api/v1/status")[1]["spool"].get("loading")

    def wait_until_loaded(self) -> None:
        self.wait_until(lambda: not self.loading(), "the queue is loaded", START_LIMIT)

    def wait_until_ready(self) -> None:
        if not self._ready.wait(START_LIMIT) or not self.ready_line():
            status = self.process.poll() if self.process else None
            raise AssertionError(f"postern said no ready line (status {status}):\n{self.log()}")

    def ready_line(self) -> str:
        return next((line for line in self.lines if line.startswith("ready ")), "")

    @staticmethod
    def _read(process, ready: threading.Event, lines: list[str]) -> None:
        for raw in process.stdout:
            lines.append(raw.decode(errors="replace").rstrip("\n"))
            if lines[-1].startswith("ready "):
                ready.set()
        ready.set()  # it has ended

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 40.0) -> int:
        """The exit status, once it has ended."""
        assert self.process is not None
        status = self.process.wait(seconds)
        self.process = None
        return status

    def stop(self) -> int:
        self.terminate()
        return self.wait()

    def kill(self) -> None:
        """kill -9 to every process of it, at once."""
        if self.process is None:
            return
        group = self.process.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self.process.wait()
        self.process = None
        pause = threading.Event()
        while _any_lives(group):  # until the kernel has taken down the last of them
            pause.wait(0.002)

    def restart(self) -> "Postern":
        if self.process is not None:
            assert self.stop() == 0
        return self.start(apply=False)

    # ---- talking to it ----

    def client(self, **more) -> Client:
        client = Client("127.0.0.1", self.port, **more)
        self.clients.append(client)
        return client

    def cli(self, *words: str | Path, status: int | None = 0, stdin: str | None = None) -> str:
        """Runs `postern WORDS --state …`; returns what it prints."""
        run = run_postern(*words, state=self.state, status=status, stdin=stdin)
        return run.stdout if run.returncode == 0 else run.stderr

    def json(self, *words: str):
        return json.loads(self.cli(*words, "--json"))

    def failed(self, *words: str | Path) -> str:
        """Standard output of a command that ends with 1."""
        return run_postern(*words, state=self.state, status=1).stdout

    def api(
        self, method: str, path: str, body=None, *, headers: dict | None = None
    ) -> tuple[int, object]:
        """One request on the gateway's socket; status and the answer, parsed where it is JSON."""
        connection = UnixConnection(str(self.state / "api.sock"))
        payload = json.dumps(body) if isinstance(body, (dict, list)) else body
        kind = {"Content-Type": "application/json"} if isinstance(body, (dict, list)) else {}
        connection.request(method, path, payload, {**kind, **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return (
            response.status,
            json.loads(text) if "json" in response.getheader("Content-Type", "") else text.decode(),
        )

    def queue(self) -> list[dict]:
        """All queued messages, page after page."""
        items, page = [], "/api/v1/queue"
        while page:
            status, answer = self.api("GET", page)
            assert status == 200, answer
            items += answer["items"]
            page = answer["next"] and f"/api/v1/queue?cursor={answer['next']}"
        return items

    def settle(self, seconds: float = 60.0) -> None:
        """Returns when the queue is empty."""
        self.wait_until(lambda: not self.queue(), "the queue is empty", seconds)

    def wait_until(self, condition, what: str, seconds: float = 30.0):
        """Polls for something that only the API can tell; returns what the condition returned."""
        end = time.monotonic() + seconds
        pause = threading.Event()
        while not (value := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\nqueue: {self.queue()}")
            pause.wait(0.02)
        return value

    # ---- what it said ----

    def log_octets(self) -> bytes:
        """All that was logged: what went to standard error, then the log of the gateway."""
        return b"".join(path.read_bytes() for path in self._log_files())

    def _log_files(self) -> list[Path]:
        return [self.log_path, *sorted((self.state / "log").glob("postern.log*"), reverse=True)]

    def log(self) -> str:
        """The last of each file, for people."""
        return "\n".join(p.read_text(errors="replace")[-8000:] for p in self._log_files())

    def check_log(self) -> None:
        """Nothing that must never happen has happened."""
        text = self.log_octets().decode(errors="replace")
        for sign in SIGNS_OF_BUGS:
            assert sign not in text, f"{sign} in the log:\n{text[-20000:]}"

    def _show(self) -> None:
        out = sys.stderr
        print(f"=== log of {self.state} ===\n{self.log()}", file=out)
        for number, client in enumerate(self.clients):
            print(f"=== client {number} ===", *client.transcript[-60:], sep="\n", file=out)
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
        print(
            f"=== again: POSTERN_BINARY={BINARY} /usr/bin/python3 -m pytest '{test}' ===", file=out
        )


def _any_lives(group: int) -> bool:
    """Is there a process of that group? One that only waits to be collected, and has no thread left,
    has nothing any more, and who collects the orphans may take seconds."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, _, its_group = (
                Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:3]
            )
            if int(its_group) != group:
                continue
            if state not in "ZX" or len(os.listdir(f"/proc/{entry}/task")) > 1:
                return True
    return False


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str):
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
