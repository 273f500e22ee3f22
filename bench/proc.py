"""proc: what a process tree has used, out of /proc."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For `preexec_fn`: the child is killed when the harness ends, however it ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def tree(root: int) -> list[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, look = [], [root]
    while look:
        pid = look.pop()
        found.append(pid)
        look += children.get(pid, [])
    return found


@dataclass(frozen=True)
class Usage:
    """Used up since the tree began. Both counters of a process go to its parent when that one waits
    for it, so the living processes together know of all that there ever were."""

    cpu: float  # seconds, user and system
    written: int  # octets that went to the page cache or the disk

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.cpu - other.cpu, self.written - other.written)


def usage(root: int) -> Usage:
    ticks = written = 0
    for pid in tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            io = Path(f"/proc/{pid}/io").read_text()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
        written += int(io.partition("\nwrite_bytes:")[2].split()[0])
    return Usage(ticks / TICK, written)


def memory(root: int) -> int:
    """Octets of the whole tree: the proportional set size, which counts a shared page once."""
    total = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(text.partition("\nPss:")[2].split()[0]) * 1024
    return total


def memory_of_sessions(root: int, command: list[str | Path]) -> tuple[int, int]:
    """Sessions held by a process of their own, which says "held N" and holds them until its standard
    input is closed; how many there were, and what memory they took of the tree of `root`."""
    before = memory(root)
    client = subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )
    assert client.stdin is not None and client.stdout is not None
    held = int(client.stdout.readline().split()[1])
    octets = memory(root) - before
    client.stdin.close()
    client.wait()
    return held, octets


def reset_peak(root: int) -> None:
    """Makes peak() count from now."""
    for pid in tree(root):
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            continue


def peak(root: int) -> int:
    """Octets: the highest resident size of each process, added up."""
    total = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        if "\nVmHWM:" in text:
            total += int(text.partition("\nVmHWM:")[2].split()[0]) * 1024
    return total


def _perf_works() -> bool:
    try:
        run = subprocess.run(
            ["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"], capture_output=True
        )
    except FileNotFoundError:
        return False
    return run.returncode == 0


class Syscalls:
    """Counts the system calls of a tree between entering and leaving: by perf where it works, else
    by strace, which slows the server and so changes how much it can do in one go."""

    def __init__(self, root: int):
        pids = [str(pid) for pid in tree(root)]
        self.tool = "perf" if _perf_works() else "strace"
        if self.tool == "perf":
            events = "raw_syscalls:sys_enter,syscalls:sys_enter_fsync,syscalls:sys_enter_fdatasync"
            self.command = ["perf", "stat", "-x", ";", "-e", events, "-p", ",".join(pids)]
        else:
            self.command = [
                "strace",
                "-f",
                "-q",
                "-c",
                *(word for pid in pids for word in ("-p", pid)),
            ]
        self.calls = self.syncs = 0

    def __enter__(self) -> Syscalls:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        time.sleep(1)  # neither tool says when it has attached
        return self

    def __exit__(self, *exc) -> None:
        self.process.send_signal(signal.SIGINT)
        report = self.process.communicate()[1]
        if self.tool == "perf":
            counts = {
                f[2]: int(f[0])
                for f in (line.split(";") for line in report.splitlines())
                if len(f) > 2 and f[0].isdigit()
            }
            self.calls = counts.get("raw_syscalls:sys_enter", 0)
            self.syncs = sum(n for name, n in counts.items() if name.endswith("sync"))
        else:
            rows = [line.split() for line in report.splitlines()]
            counts = {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit()}
            self.calls = counts.pop("total", 0) or sum(counts.values())
            self.syncs = counts.get("fsync", 0) + counts.get("fdatasync", 0)
