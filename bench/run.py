"""run: Postern beside Postfix and OpenSMTPD, on this machine, in one run.

    bench/run.py [--quick] [--servers LIST] [--workloads LIST] [--rounds N] [--write]

Rounds alternate between the servers, so that whatever else happens to the machine happens to all of
them. What is shown is the median of the rounds with their range. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import incoming_tls
import lists
import load
import own
import peers
import proc
import rules
import servers
import spread
from load import Shape

HERE = Path(__file__).resolve().parent
SERVERS = ["postfix", "opensmtpd", "postern"]


@dataclass
class Row:
    """One measure of one workload: a value per round and server, and the aim."""

    name: str
    aim: str = ""
    met: Callable[[float, float], bool] | None = None  # (Postern's, Postfix's) medians
    values: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, server: str, value: float) -> None:
        self.values.setdefault(server, []).append(value)

    def median(self, server: str) -> float | None:
        return statistics.median(self.values[server]) if self.values.get(server) else None

    def cell(self, server: str) -> str:
        middle = self.median(server)
        if middle is None:
            return self.notes.get(server, "–")
        low, high = min(self.values[server]), max(self.values[server])
        spread = f" ({number(low)}–{number(high)})" if number(low) != number(high) else ""
        return f"{number(middle)}{spread}" + (
            f", {self.notes[server]}" if server in self.notes else ""
        )

    def ratio(self) -> str:
        ours, theirs = self.median("postern"), self.median("postfix")
        if not ours or not theirs:
            return "–"
        return f"{ours / theirs:.1f} ×" if ours >= theirs else f"1/{theirs / ours:.1f}"

    def verdict(self) -> str:
        ours, theirs = self.median("postern"), self.median("postfix")
        if self.met is None or ours is None or (theirs is None and "Postfix" in self.aim):
            return self.aim
        return f"{self.aim}: {'yes' if self.met(ours, theirs or 0) else 'no'}"


def number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def at_least(factor: float) -> tuple[str, Callable[[float, float], bool]]:
    return f"≥ {factor:g} × Postfix", lambda ours, theirs: theirs > 0 and ours >= factor * theirs


def at_most_one_in(part: float) -> tuple[str, Callable[[float, float], bool]]:
    return f"≤ 1/{part:g} of Postfix", lambda ours, theirs: theirs > 0 and ours <= theirs / part


def below(limit: float, unit: str) -> tuple[str, Callable[[float, float], bool]]:
    return f"≤ {limit:g} {unit}".strip(), lambda ours, theirs: ours <= limit


def at_least_percent(limit: float) -> tuple[str, Callable[[float, float], bool]]:
    return f"≥ {limit:g} %", lambda ours, theirs: ours >= limit


@dataclass(frozen=True)
class Traffic:
    """Messages through each server: so many a round, chosen so that a round takes seconds."""

    shape: Shape
    messages: dict[str, int]
    rate: tuple = ()
    cpu: tuple = ()
    peak: tuple = ()  # the highest resident memory of the tree, where it is of interest
    fast: bool = False  # by postern-source and postern-sink: Postfix's own would be the limit


TRAFFIC = {
    "message": Traffic(
        Shape(4096, 20),
        {"postfix": 2000, "opensmtpd": 100, "postern": 10000},
        at_least(4),
        at_most_one_in(10),
    ),
    "kept": Traffic(
        Shape(4096, 20, kept=True),
        {"postfix": 2000, "opensmtpd": 200, "postern": 20000},
        at_least(8),
        at_most_one_in(15),
    ),
    "many": Traffic(
        Shape(4096, 100), {"postfix": 2000, "opensmtpd": 200, "postern": 10000}, at_least(8)
    ),
    "one": Traffic(
        Shape(1024, 1), {"postfix": 1000, "opensmtpd": 200, "postern": 3000}, at_least(2.5)
    ),
    "50k": Traffic(
        Shape(50 << 10, 20), {"postfix": 1000, "opensmtpd": 100, "postern": 5000}, at_least(5)
    ),
    "10m": Traffic(
        Shape(10 << 20, 4),
        {"postfix": 60, "opensmtpd": 60, "postern": 120},
        at_least(2),
        (),
        below(64, "MB"),
        True,
    ),
    "10m-tls": Traffic(
        Shape(10 << 20, 4, tls=True),
        {"postfix": 60, "postern": 120},
        at_least(2),
        (),
        below(64, "MB"),
        True,
    ),
    "10m-tls-in": Traffic(
        Shape(10 << 20, 4, tls_in=True),
        {"postfix": 60, "postern": 120},
        at_least(2),
        (),
        below(64, "MB"),
        True,
    ),
}
OWN = ["slow-sync", "dead", "rules"]
LISTS = ["table", "lists", "refused"]
TLS = ["handshake", "idle-tls"]
WORKLOADS = [*TRAFFIC, "spread", "written", "idle", "syscalls", *TLS, *OWN, *LISTS]


class Bench:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.work = options.work
        self.rows: list[Row] = []
        self.lines: list[str] = []  # said under the table

    def make(self, name: str, sink: load.Sink, **more):
        return servers.make(name, self.options.binary, self.work, sink.port, **more)

    def count(self, messages: int) -> int:
        return max(20, messages // 20) if self.options.quick else messages

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def run(self) -> None:
        wanted = self.options.workloads
        slow = {n: t for n, t in TRAFFIC.items() if n in wanted and not t.fast}
        fast = {n: self.with_programs(t) for n, t in TRAFFIC.items() if n in wanted and t.fast}
        if slow or "written" in wanted or "syscalls" in wanted:
            self.with_running(self.sink, lambda running: self.run_traffic(running, slow))
        for name, t in fast.items():
            sink = self.tls_sink if t.shape.tls | t.shape.tls_in else self.fast_sink
            self.with_running(sink, lambda running: self.run_each(running, {name: t}), t.shape)
        if "spread" in wanted:
            self.run_spread()
        if "idle" in wanted:
            self.run_idle()
        self.run_tls()
        if "postern" in self.options.servers:
            self.run_own()
            self.run_lists()

    def folder(self, name: str) -> Path:
        path = self.work / "sinks" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def with_programs(self, traffic: Traffic) -> Traffic:
        shape = replace(traffic.shape, programs=self.options.binary.parent)
        return replace(traffic, shape=shape)

    def sink(self, name: str) -> load.Sink:
        return load.Sink(self.folder(name))

    def fast_sink(self, name: str) -> load.Sink:
        return load.FastSink(self.folder(name), self.options.binary.parent)

    def tls_sink(self, name: str) -> load.Sink:
        """With a certificate of the day: ECDSA P-256."""
        folder = self.folder(name)
        return load.FastSink(folder, self.options.binary.parent, incoming_tls.certificate(folder))

    def run_tls(self) -> None:
        if "handshake" in self.options.workloads:
            row = Row("full TLS handshake over STARTTLS, ECDSA P-256: server CPU, ms")
            bare = incoming_tls.handshakes(self, row)
            row.aim = "≤ 1.21 × OpenSSL alone (0.46 ms where that takes 0.38)"
            row.met = lambda ours, theirs: ours <= 1.21 * bare
            self.rows.append(row)
        if "idle-tls" in self.options.workloads:
            row = Row("idle TLS session, KB of memory", *below(17, "KB"))
            incoming_tls.idle(self, row)
            self.rows.append(row)

    def run_spread(self) -> None:
        name = f"{spread.SHAPE}: "
        cpu = Row(f"{name}CPU s per 1,000", *at_most_one_in(8))
        copies = Row(f"{name}octets on disk, of the content's", *below(1.3, "×"))
        spread.run(self, cpu, copies)
        self.rows += [cpu, copies]

    def run_own(self) -> None:
        if "slow-sync" in self.options.workloads:
            percent = Row(
                "4 KB × 100, syncs take 5 ms longer: % of the rate without", *at_least_percent(80)
            )
            syncs = Row(
                "4 KB × 100, syncs take 5 ms longer: syncs per message", *below(own.FEW, "")
            )
            own.slow_disk(self, percent, syncs)
            self.rows += [percent, syncs]
        if "dead" in self.options.workloads:
            percent = Row(
                "4 KB × 20, kept, 100,000 queued for a dead destination: % of the rate without",
                *at_least_percent(80),
            )
            own.dead_destination(self, percent)
            self.rows.append(percent)

        if "rules" in self.options.workloads:
            for kept in (False, True):
                how = "connections kept" if kept else "a connection a message"
                percent = Row(
                    f"4 KB × 20, {how}, every message rule on: % of the CPU without",
                    *below(105, "%"),
                )
                rules.switched_on(self, percent, kept)
                self.rows.append(percent)

    def run_lists(self) -> None:
        if "table" in self.options.workloads:
            row = Row("decision in a table of 1,000,000 prefixes, half hits: ns", *below(120, "ns"))
            lists.lookup(self, row)
            self.rows.append(row)
        if "lists" in self.options.workloads:
            rows = [
                Row(
                    f"connect, greeting, QUIT beside {count} entries: % of the CPU without",
                    *below(105, "%"),
                )
                for count in ("100,000", "1,000,000")
            ]
            lists.accepted(self, rows)
            self.rows += rows
        if "refused" in self.options.workloads:
            row = Row("refused connects per CPU s, 100,000 entries", *at_least(5))
            lists.refused(self, row, self.count(100_000))
            self.rows.append(row)

    def with_running(
        self,
        new_sink: Callable[[str], load.Sink],
        job: Callable[[dict], None],
        shape: Shape = Shape(4096, 4),
    ) -> None:
        """Starts all servers, each with a sink of its own, and ends them after the job. OpenSMTPD is
        not compared over TLS. `shape`: what of TLS there is to be."""
        warm = replace(shape, size=4096, sessions=4)
        running: dict = {}
        try:
            for name in [n for n in self.options.servers if n != "opensmtpd" or not shape.tls | shape.tls_in]:
                sink = new_sink(name)
                running[name] = (None, sink)
                running[name] = (self.started(name, sink, shape), sink)
                load.run(warm, running[name][0], sink, 40)  # first files, processes and pages
            job(running)
        finally:
            for server, sink in running.values():
                if server is not None:
                    server.stop()
                sink.close()

    def run_each(self, running: dict, traffic: dict[str, Traffic]) -> None:
        for name, t in traffic.items():
            self.traffic(running, name, t)

    def run_traffic(self, running: dict, traffic: dict[str, Traffic]) -> None:
        self.run_each(running, traffic)
        if "written" in self.options.workloads:
            self.written(running)
        if "syscalls" in self.options.workloads:
            self.syscalls(running)

    def round(self, running: dict, name: str, shape: Shape, messages: int) -> load.Run | None:
        """One round of one server. A peer that keeps messages back is started anew, and the round
        does not count; of Postern it would be a failure."""
        server, sink = running[name]
        try:
            return load.run(shape, server, sink, self.count(messages))
        except (load.Stalled, peers.PeerError) as error:
            if name == "postern":
                raise
            self.say(f"{name}: {error}")
            self.lines.append(f"{shape}: a round of {server.title} is left out: {error}.")
        server.stop()
        running[name] = (self.started(name, sink, shape), sink)
        return None

    def started(self, name: str, sink: load.Sink, shape: Shape):
        if shape.tls_in:
            pem = incoming_tls.certificate(self.folder(name))
            return incoming_tls.made(self, name, sink, pem, 100)
        server = self.make(name, sink, tls=shape.tls)
        server.start()
        return server

    def traffic(self, running: dict, name: str, t: Traffic) -> None:
        rate = Row(f"{t.shape}: messages/s", *t.rate)
        cpu = Row(f"{t.shape}: CPU s per 1,000", *t.cpu)
        peak = Row(f"{t.shape}: memory at most, MB", *t.peak) if t.peak else None
        direct = []
        for turn in range(self.options.rounds):
            for server_name in running:
                if peak:
                    proc.reset_peak(running[server_name][0].pid)
                run = self.round(running, server_name, t.shape, t.messages[server_name])
                if run is None:
                    continue
                rate.add(server_name, run.rate)
                cpu.add(server_name, run.cpu)
                if peak:
                    octets = proc.peak(running[server_name][0].pid)
                    peak.add(server_name, octets / (1 << 20))
                self.say(
                    f"{name} {turn + 1}: {server_name} {run.rate:.0f}/s, {run.cpu:.3f} CPU s/1,000"
                )
            sink = running[server_name][1]
            direct.append(load.ceiling(t.shape, sink, self.count(max(t.messages.values()))))
        self.rows += [rate, cpu] + ([peak] if peak else [])
        self.lines.append(
            f"{t.shape}: {' straight to '.join(t.shape.tools)}, with no server between, reaches "
            f"{number(statistics.median(direct))} messages/s "
            f"({number(min(direct))}–{number(max(direct))})."
        )

    def written(self, running: dict) -> None:
        """Octets written per message, once files that are used again have been used again."""
        row = Row("4 KB: KB written per message", *below(6, "KB"))
        shape = Shape(4096, 20, kept=True)
        for name in running:
            self.round(running, name, shape, 60000 if name == "postern" else 500)
        for _ in range(self.options.rounds):
            for name in running:
                run = self.round(running, name, shape, 20000 if name == "postern" else 1000)
                if run is not None:
                    row.add(name, run.written / 1024)
                    self.say(f"written: {name} {run.written:.0f} octets a message")
        self.rows.append(row)

    def syscalls(self, running: dict) -> None:
        for shape, aim in (
            (Shape(4096, 20), below(40, "")),
            (Shape(4096, 20, kept=True), below(20, "")),
        ):
            calls = Row(f"{shape}: system calls per message", *aim)
            syncs = Row(f"{shape}: syncs per message")
            for name in running:
                wanted = {"postern": 5000, "opensmtpd": 100}.get(name, 1000)
                messages = self.count(wanted)
                self.round(running, name, shape, wanted // 10)  # have the processes there
                with proc.Syscalls(running[name][0].pid) as counter:
                    run = self.round(running, name, shape, wanted)
                if run is None:
                    continue
                calls.add(name, counter.calls / messages)
                if counter.tool == "perf" or counter.syncs:
                    syncs.add(name, counter.syncs / messages)
                self.say(
                    f"syscalls: {name} {counter.calls / messages:.1f} a message ({counter.tool})"
                )
            self.rows += [calls, syncs]

    def run_idle(self) -> None:
        """Memory of held sessions, on servers that have just been started."""
        row = Row("idle plain session, KB of memory", *below(2, "KB"))
        for name in self.options.servers:
            count = {"postfix": 500}.get(name, 10000)
            count = min(count, 50 if self.options.quick else count)
            with load.Sink(self.folder(name)) as sink:
                server = self.make(name, sink, sessions=count + 50)
                server.start()
                try:
                    load.run(Shape(4096, 4), server, sink, 40)
                    held, octets = proc.memory_of_sessions(
                        server.pid,
                        [HERE / "idle_client.py", "127.0.0.1", str(server.port), str(count)],
                    )
                finally:
                    server.stop()
            if held:
                row.add(name, octets / held / 1024)
                row.notes[name] = f"{held:,} held"
            else:
                row.notes[name] = "none held"
            self.say(f"idle: {name} {held} held, {octets / max(held, 1):.0f} octets each")
        self.rows.append(row)


def sync_rate(folder: Path, seconds: float = 1.0) -> float:
    """fdatasync()s a second on a file whose blocks are all there: what the disk can do."""
    path = folder / "sync-probe"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(fd, b"\0" * (1 << 20))
        os.fsync(fd)
        done, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            os.pwrite(fd, b"x" * 4096, (done % 256) * 4096)
            os.fdatasync(fd)
            done += 1
        return done / seconds
    finally:
        os.close(fd)
        path.unlink()


def machine(work: Path) -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{os.cpu_count()} × {cpu}, {memory:.0f} GB, Linux {platform.release()}, "
        f"{servers.filesystem(work)}, {sync_rate(work):,.0f} fdatasyncs/s of 4 KB"
    )


def table(bench: Bench, versions: dict[str, str]) -> str:
    titles = {"postfix": "Postfix", "opensmtpd": "OpenSMTPD ¹", "postern": "Postern"}
    names = [name for name in SERVERS if name in bench.options.servers]
    heads = [
        "",
        *(f"{titles[name]} {versions[name]}" for name in names),
        "Postern : Postfix",
        "aim",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in bench.rows:
        lines.append(
            "| "
            + " | ".join([row.name, *(row.cell(n) for n in names), row.ratio(), row.verdict()])
            + " |"
        )
    return "\n".join(lines)


def report(bench: Bench, versions: dict[str, str], command: str) -> str:
    text = [
        f"`{command}` on {datetime.date.today().isoformat()}, {bench.options.rounds} rounds; "
        f"{machine(bench.work)}.",
        "",
        table(bench, versions),
        "",
    ]
    if "opensmtpd" in bench.options.servers:
        text += [
            "¹ OpenSMTPD does not sync a message before its `250`: it does less than the others. "
            "Its messages/s are low by design, not by work: its listening queue holds 5, so that "
            "of many connections at a time some wait a second or more for TCP to try again, and "
            "it lets seconds pass between connections to a next hop.",
            "",
        ]
    return "\n".join(text + [f"- {line}" for line in bench.lines]) + "\n"


def write_readme(text: str) -> None:
    path = HERE / "README.md"
    begin, end = "<!-- results: begin -->\n", "<!-- results: end -->"
    head, _, rest = path.read_text().partition(begin)
    tail = rest.partition(end)[2]
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def some_of(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if wrong := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: not one of {', '.join(known)}")
        return [name for name in known if name in names]

    return parse


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: a twentieth of the messages, one round"
    )
    parser.add_argument("--servers", type=some_of(SERVERS), default=SERVERS, help=",".join(SERVERS))
    parser.add_argument(
        "--workloads", type=some_of(WORKLOADS), default=WORKLOADS, help=",".join(WORKLOADS)
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", type=Path, default=HERE.parent / "build" / "postern")
    parser.add_argument(
        "--work",
        type=Path,
        default=HERE.parent / ".dev" / "bench",
        help="where spools are; on a real disk",
    )
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    return options


def wait_for_turn() -> int:
    """Two benchmarks at a time measure each other: the second waits."""
    lock = os.open("/var/tmp/postern-bench.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("bench: another one runs on this machine; waiting for its end", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def main() -> int:
    options = parse_options()
    if os.geteuid() != 0:
        print("bench: the peers run in namespaces of their own: root is needed", file=sys.stderr)
        return 1
    lock = wait_for_turn()  # held until the process ends
    options.work.mkdir(parents=True, exist_ok=True)
    if servers.filesystem(options.work) in ("tmpfs", "ramfs", "overlay"):
        print(f"bench: {options.work} is not on a disk (--work)", file=sys.stderr)
        return 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    bench = Bench(options)
    try:
        bench.run()
    except (peers.PeerError, load.Stalled) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    versions = {name: servers.version(name, options.binary) for name in options.servers}
    text = report(bench, versions, " ".join(["./dev bench", *sys.argv[1:]]))
    print(text)
    if options.write:
        write_readme(text)
    os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
