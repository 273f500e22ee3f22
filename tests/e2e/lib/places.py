"""places: free ports and folders that do not collide, however many workers run side by side."""

import contextlib
import itertools
import os
import shutil
import socket
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# Below the range from which the kernel takes ports for outgoing connections; a slice per worker.
_FIRST, _SLICE = 11000, 1000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
_numbers = itertools.cycle(range(_FIRST + _worker * _SLICE, _FIRST + (_worker + 1) * _SLICE))
for _ in range(os.getpid() % _SLICE):  # two runs at a time rarely meet
    next(_numbers)


def free_port() -> int:
    """A port that nobody listens on, and that no other test of this run is given soon."""
    for port in itertools.islice(_numbers, _SLICE):
        with socket.socket() as s:
            try:
                s.bind(("", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


@contextlib.contextmanager
def temporary_folder():
    """A folder on a disk (/var/tmp is never in memory), with a path short enough for a socket."""
    folder = Path(
        tempfile.mkdtemp(prefix="postern-e2e.", dir=os.environ.get("POSTERN_TEST_DIR", "/var/tmp"))
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
