"""spread: one message for many recipients at several destinations.

Each domain has a next hop of its own: the same sink, at another address of loopback."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import load
import servers
from load import Shape

if TYPE_CHECKING:
    from run import Bench, Row

SHAPE = Shape(50 << 10, 20, kept=True, recipients=20, domains=5)
MESSAGES = {"postfix": 200, "postern": 2000}
WARM = {"postfix": 100, "postern": 10000}


def next_hops(port: int) -> list[tuple[str, str, int]]:
    """Domain, host, port."""
    return [(f"d{n}.sink.example", f"127.0.0.{n + 1}", port) for n in range(SHAPE.domains)]


def made(bench: Bench, name: str, sink: load.Sink):
    if name == "postern":
        routes = [
            {"domain": domain, "next_hops": [{"host": host, "port": port}]}
            for domain, host, port in next_hops(sink.port)
        ]
        return servers.Postern(bench.options.binary, bench.work / name, sink.port, routes=routes)
    table = ", ".join(
        f"{{ {domain} = smtp:[{host}]:{port} }}" for domain, host, port in next_hops(sink.port)
    )
    settings = {"transport_maps": f"inline:{{ {table} }}"}
    return servers.Postfix(bench.work / name, sink.port, settings=settings)


def run(bench: Bench, cpu: Row, copies: Row) -> None:
    shape = replace(SHAPE, programs=bench.options.binary.parent)
    running: dict = {}
    try:
        for name in [n for n in bench.options.servers if n in MESSAGES]:
            sink = load.WideSink(bench.folder(name), bench.options.binary.parent)
            running[name] = (None, sink)
            running[name] = (made(bench, name, sink), sink)
            running[name][0].start()
            # First files, processes and pages; and until files that are used again have been.
            load.run(shape, *running[name], bench.count(WARM[name]))
        for turn in range(bench.options.rounds):
            for name, (server, sink) in running.items():
                result = load.run(shape, server, sink, bench.count(MESSAGES[name]))
                cpu.add(name, result.cpu)
                copies.add(name, result.written / shape.size)
                bench.say(
                    f"spread {turn + 1}: {name} {result.rate:.0f}/s, {result.cpu:.3f} CPU s/1,000, "
                    f"{result.written / shape.size:.2f} copies written"
                )
    finally:
        for server, sink in running.values():
            if server is not None:
                server.stop()
            sink.close()
