"""lists: what address lists cost those who connect, and those who are refused."""

from __future__ import annotations

import random
import socket
import statistics
import subprocess
from pathlib import Path

import load
import proc
import servers

ROUNDS_OF = 4000  # connections in one round
SOURCE = "127.0.0.77"  # the refused client


def write(path: Path, count: int, *, denied: str = "", cidr: bool = False) -> Path:
    """A list of `count` entries anywhere but on loopback, and the one denied at a place of its own
    in the middle; as Postfix's cidr table where told."""
    rng = random.Random(count)
    words = " REJECT" if cidr else ""
    with path.open("w", encoding="ascii") as out:
        for number in range(count):
            if denied and number == count // 2:
                out.write(f"{denied}{words}\n")
            length = rng.choice((32, 32, 32, 32, 32, 32, 32, 24, 24, 20))
            address = rng.randrange(1 << 24, 120 << 24) >> (32 - length) << (32 - length)
            text = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
            out.write(f"{text}{f'/{length}' if length < 32 else ''}{words}\n")
    return path


def connect(port: int, code: bytes, source: str = "127.0.0.1") -> None:
    """One connection: greeting and QUIT, or a refusal."""
    with socket.create_connection(("127.0.0.1", port), 30, (source, 0)) as s:
        greeting = s.recv(512)
        assert greeting.startswith(code), greeting
        if code == b"220":
            s.sendall(b"QUIT\r\n")
            while s.recv(512):
                pass


def cpu_of(server, connections: int, code: bytes, source: str = "127.0.0.1") -> float:
    """Seconds of CPU per connection."""
    before = proc.usage(server.pid)
    for _ in range(connections):
        connect(server.port, code, source)
    return (proc.usage(server.pid) - before).cpu / connections


def precise(server, connections: int) -> float:
    """The same for a server that ends no process meanwhile, to the nanosecond."""
    before = run_time(server.pid)
    for _ in range(connections):
        connect(server.port, b"220")
    return (run_time(server.pid) - before) / 1e9 / connections


def run_time(root: int) -> int:
    """Nanoseconds that the threads of a tree have run; a thread that has ended is not in it."""
    return sum(
        int(path.read_text().split()[0])
        for pid in proc.tree(root)
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )


def fill(server, path: Path) -> None:
    subprocess.run(
        [server.binary, "access", "import", path, "--list", "deny", "--state", server.work / "state"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def lookup(bench, row) -> None:
    """The decision by itself: tells what a table of a million takes and costs."""
    tool = bench.options.binary.parent / "bench" / "table_bench"
    path = write(bench.work / "table.txt", bench.count(1_000_000))
    for _ in range(bench.options.rounds):
        run = subprocess.run([tool, path], capture_output=True, text=True, check=True)
        words = run.stdout.split()
        values = dict(zip(words[0::2], words[1::2]))
        row.add("postern", float(values["decision_ns"]))
        bench.say(f"table: {run.stdout.strip()}".replace("\n", ", "))
    row.notes["postern"] = (
        f"{float(values['list_mb']) + float(values['table_mb']):.0f} MB, "
        f"built in {values['build_ms']} ms"
    )


def accepted(bench, rows) -> None:
    """CPU of connect, greeting and QUIT beside an empty list, in percent."""
    counts = [bench.count(count) for count in (100_000, 1_000_000)]
    with load.Sink(bench.folder("lists")) as sink:
        empty = servers.Postern(bench.options.binary, bench.work / "lists-0", sink.port)
        full = [
            servers.Postern(bench.options.binary, bench.work / f"lists-{count}", sink.port)
            for count in counts
        ]
        with empty, full[0], full[1]:
            for server, count in zip(full, counts):
                fill(server, write(bench.work / "list.txt", count))
            for server in (empty, *full):
                precise(server, 200)
            for _ in range(bench.options.rounds):
                base = precise(empty, bench.count(ROUNDS_OF))
                for server, row in zip(full, rows):
                    cost = precise(server, bench.count(ROUNDS_OF))
                    row.add("postern", 100 * cost / base)
                bench.say(f"lists: {base * 1e6:.0f} µs of CPU a connection without entries")


def refused(bench, row, count: int) -> None:
    """Refused connects per second of CPU, the same list in both."""
    for name in bench.options.servers:
        if name == "opensmtpd":
            continue
        with load.Sink(bench.folder("refused")) as sink:
            server = make(bench, name, sink, count)
            with server:
                if name == "postern":
                    fill(server, write(bench.work / "list.txt", count, denied=SOURCE))
                cpu_of(server, 50, b"554", SOURCE)
                rates = []
                for _ in range(bench.options.rounds):
                    connections = bench.count(ROUNDS_OF if name == "postern" else ROUNDS_OF // 20)
                    rates.append(1 / max(cpu_of(server, connections, b"554", SOURCE), 1e-6))
                    row.add(name, rates[-1])
        bench.say(f"refused: {name} {statistics.median(rates):.0f} a second of CPU")


def make(bench, name: str, sink, count: int):
    if name == "postern":
        return servers.Postern(bench.options.binary, bench.work / "refused", sink.port)
    work = bench.work / "postfix-refused"
    table = bench.work / "refused.cidr"
    write(table, count, denied=SOURCE, cidr=True)
    table.chmod(0o644)
    return servers.Postfix(
        work,
        sink.port,
        settings={
            "smtpd_delay_reject": "no",
            "smtpd_client_restrictions": f"check_client_access cidr:{table}",
        },
    )
