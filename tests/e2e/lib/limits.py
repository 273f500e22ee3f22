"""limits: a program that may use only so much memory.

The kernel's own way is a control group; this takes version 2 or 1, whichever has the memory
controller, and needs root. Where no group can be made, a resource limit stands in: it counts address
space that is written to or could be, and not what the kernel keeps for the program.
"""

import contextlib
import os
import threading
from pathlib import Path

# Stacks of threads count in a resource limit, though next to nothing of them is used.
_STACKS = 160 << 20


class MemoryLimit:
    """`prefix` goes before a command. `kind` says how it is limited."""

    def __init__(self, octets: int):
        self.octets = octets
        self.group = _make_group(octets)
        if self.group:
            self.kind = f"control group {self.group.parent}"
            enter = f'echo $$ >{self.group}/cgroup.procs && exec "$@"'
            self.prefix = ["sh", "-c", enter, "sh"]
        else:
            self.kind = "resource limit"
            self.prefix = ["prlimit", f"--data={octets + _STACKS}", "--"]

    def __enter__(self) -> "MemoryLimit":
        return self

    def __exit__(self, *exc) -> None:
        if not self.group:
            return
        pause = threading.Event()
        for _ in range(500):  # the last process may still be on its way out
            with contextlib.suppress(OSError):
                self.group.rmdir()
                return
            pause.wait(0.02)

    def killed(self) -> int:
        """Processes that the kernel has killed for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            path = self.group / name if self.group else None
            if path and path.exists():
                rows = dict(line.split() for line in path.read_text().splitlines())
                return int(rows["oom_kill"])
        return 0

    def peak(self) -> int | None:
        """The most that was ever counted, file cache included; None: not known."""
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            path = self.group / name if self.group else None
            if path and path.exists():
                return int(path.read_text())
        return None


def _make_group(octets: int) -> Path | None:
    """A new group below the root of the hierarchy that limits memory."""
    name = f"postern-test-{os.getpid()}-{threading.get_native_id()}"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup2":
            limit = "memory.max"
        elif kind == "cgroup" and "memory" in options.split(","):
            limit = "memory.limit_in_bytes"
        else:
            continue
        group = Path(mount) / name
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / limit).write_text(str(octets))
                return group
            except OSError:
                group.rmdir()
    return None
