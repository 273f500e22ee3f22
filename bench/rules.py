"""rules: what it costs to switch every message rule on."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import load
import servers
from load import Shape

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from lib.dns import Names  # noqa: E402

RECORDS = {
    ("source.example", "MX"): ["10 source.example."],
    ("source.example", "A"): ["127.0.0.1"],
}
# More comes than any limit allows: it is counted and compared.
SHADOW = {"mode": "shadow", "per_address": 100_000, "per_prefix": 100_000}


def everything(server: servers.Postern, names: Names) -> None:
    """Each rule asked of each message, and none of them refuses one. This host may not relay, or
    most rules would not be asked."""
    server.settings["message_rules"] = {
        "max_messages_per_connection": 100_000,
        "max_data_per_connection_mb": 100_000,
        "relay_domains": ["sink.example", "*.sink.example"],
        "permitted_relay": {"hosts": "specified", "networks": ["192.0.2.0/24"]},
        "helo_checks": {"syntax": "on", "resolvable": "on", "own_name": "on"},
        "reverse_path_checks": {"syntax": "on", "resolvable": "on", "own_domain": "on"},
        "recipient_check": "on",
    }
    server.settings["connections"]["limits"] = {
        f"{what}_per_minute": SHADOW for what in ("connections", "messages", "recipients", "failures")
    }
    server.settings["resolver"] = names.settings["resolver"]
    for route in server.settings["delivery"]["routes"]:
        route |= {"max_message_size_mb": 40, "max_messages_per_minute": 1_000_000}


def switched_on(bench, percent, kept: bool) -> None:
    """Pairs: the processor time of a message with everything on, in percent of that without."""
    shape, messages = Shape(4096, 20, kept=kept), bench.count(20000)
    shape = replace(shape, programs=bench.options.binary.parent)
    with load.Sink(bench.folder("rules-a")) as plain_sink, load.Sink(
        bench.folder("rules-b")
    ) as ruled_sink, Names(RECORDS) as names:
        plain = bench.make("postern", plain_sink)
        ruled = servers.Postern(
            bench.options.binary, bench.work / "postern-ruled", ruled_sink.port
        )
        everything(ruled, names)
        with plain, ruled:
            for server, sink in ((plain, plain_sink), (ruled, ruled_sink)):
                load.run(shape, server, sink, 1000)
            for _ in range(bench.options.rounds):
                without = load.run(shape, plain, plain_sink, messages)
                with_all = load.run(shape, ruled, ruled_sink, messages)
                percent.add("postern", 100 * with_all.cpu / without.cpu)
                bench.say(
                    f"rules: {with_all.cpu:.3f} against {without.cpu:.3f} CPU s/1,000, "
                    f"{with_all.rate:.0f}/s against {without.rate:.0f}/s"
                )
