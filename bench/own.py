"""own: what is measured on Postern alone, against itself under better circumstances."""

from __future__ import annotations

import subprocess
from pathlib import Path

import load
import peers
import proc
import servers
from load import Shape

HERE = Path(__file__).resolve().parent
FEW = 0.05  # syncs per message, where a sync takes 5 ms


def slow_sync(work: Path) -> dict[str, str]:
    """The environment in which each sync takes 5 ms longer."""
    library = work / "slow_sync.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O2", "-o", library, HERE / "slow_sync.c"], check=True
    )
    return {"LD_PRELOAD": str(library)}


def slow_disk(bench, percent, syncs) -> None:
    """Pairs: the rate on a disk whose syncs take 5 ms, in percent of the rate on this disk."""
    shape, messages = Shape(4096, 100), bench.count(10000)
    with load.Sink(bench.folder("slow-a")) as fast_sink, load.Sink(
        bench.folder("slow-b")
    ) as slow_sink:
        fast = bench.make("postern", fast_sink)
        slow = servers.Postern(
            bench.options.binary,
            bench.work / "postern-slow",
            slow_sink.port,
            environment=slow_sync(bench.work),
        )
        with fast, slow:
            for server, sink in ((fast, fast_sink), (slow, slow_sink)):
                load.run(shape, server, sink, 500)
            for _ in range(bench.options.rounds):
                with_fast = load.run(shape, fast, fast_sink, messages)
                with_slow = load.run(shape, slow, slow_sink, messages)
                percent.add("postern", 100 * with_slow.rate / with_fast.rate)
                bench.say(f"slow-sync: {with_slow.rate:.0f}/s against {with_fast.rate:.0f}/s")
            with proc.Syscalls(slow.pid) as counter:
                load.run(shape, slow, slow_sink, messages)
            if counter.tool == "perf" or counter.syncs:
                syncs.add("postern", counter.syncs / messages)


def dead_destination(bench, percent) -> None:
    """Pairs: the rate to a healthy destination while another one is dead and has a long queue, in
    percent of the rate without."""
    shape, messages, queued = Shape(4096, 20, kept=True), bench.count(20000), bench.count(100_000)
    dead = {
        "domain": "dead.example",
        "next_hops": [{"host": "127.0.0.1", "port": peers.free_port()}],
    }
    with load.Sink(bench.folder("dead-a")) as free_sink, load.Sink(
        bench.folder("dead-b")
    ) as laden_sink:
        free = bench.make("postern", free_sink)
        laden = servers.Postern(
            bench.options.binary, bench.work / "postern-laden", laden_sink.port, routes=[dead]
        )
        with free, laden:
            load.send(shape, laden.port, queued, recipient="b@dead.example")
            laden.queued_for_ever = queued
            for server, sink in ((free, free_sink), (laden, laden_sink)):
                load.run(shape, server, sink, 500)
            for _ in range(bench.options.rounds):
                alone = load.run(shape, free, free_sink, messages)
                beside = load.run(shape, laden, laden_sink, messages)
                percent.add("postern", 100 * beside.rate / alone.rate)
                bench.say(f"dead: {beside.rate:.0f}/s against {alone.rate:.0f}/s")
