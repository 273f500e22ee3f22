"""lib: what the end-to-end tests are made of.

    with Sink() as sink, Postern(sink) as gw, gw.client() as c:
        c.says("EHLO a.example").expect(250)

Real processes on free ports, every state folder private and on a disk. Nothing sleeps: a test waits
for an event, and fails with log and transcripts when it does not come.
"""

from .client import Client, ConversationError, any_certificate
from .clock import Clock
from .console import Browser, Events, console_url
from .dns import TRUNCATED, Names
from .dsn import Notice, read_notice
from .hop import CLOSE, RESET, SILENT, Hop
from .limits import MemoryLimit
from .island import Island
from .knot import Knot, Zone
from .mail import make_message, split_trace
from .neighbour import Neighbour
from .outside import Outside
from .places import ROOT, free_port, temporary_folder
from .postern import BINARY, CommandFailed, Postern, run_postern
from .sink import Sink

__all__ = [
    "BINARY",
    "Browser",
    "CLOSE",
    "Client",
    "Clock",
    "CommandFailed",
    "ConversationError",
    "Events",
    "Hop",
    "Island",
    "Knot",
    "MemoryLimit",
    "Names",
    "Neighbour",
    "Notice",
    "Outside",
    "Postern",
    "RESET",
    "ROOT",
    "SILENT",
    "Sink",
    "TRUNCATED",
    "Zone",
    "any_certificate",
    "console_url",
    "free_port",
    "make_message",
    "read_notice",
    "run_postern",
    "split_trace",
    "temporary_folder",
]
