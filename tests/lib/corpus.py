"""The SpamAssassin public corpus: some 6,000 real messages, read from the npm package.

    for message in corpus.messages():
        send(message.wire)

`message.raw` is what the file holds (line ends as the collector stored them), `message.wire` the
form in which it can travel by SMTP: every line ends in CRLF, the last one too. Nothing else is
changed, so what arrives at the next hop must end with `message.wire`, octet for octet.

`./dev setup` (which `./dev test` runs) installs the package; there is no download here.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "node_modules" / "@stdlib" / "datasets-spam-assassin" / "data"
GROUPS = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BARE_CR = re.compile(rb"\r(?!\n)")


def to_wire(raw: bytes) -> bytes:
    """CRLF for every kind of line end, and one at the end of the message."""
    wire = _LINE_END.sub(b"\r\n", raw)
    return wire if wire.endswith(b"\r\n") else wire + b"\r\n"


@dataclass(frozen=True)
class Message:
    name: str  # "spam-2/00276.a8792b1d4591c269b9234f3a39f846d8": stable, fit for a test's id
    raw: bytes = field(repr=False)

    @property
    def wire(self) -> bytes:
        return to_wire(self.raw)

    @property
    def has_nul(self) -> bool:
        """Such a message is refused, by contract."""
        return b"\0" in self.raw

    @property
    def has_bare_cr(self) -> bool:
        """`raw` sent with its LFs as CRLF would be refused; `wire` is fit to send."""
        return _BARE_CR.search(self.raw) is not None

    @property
    def is_8bit(self) -> bool:
        return not self.raw.isascii()

    @property
    def longest_line(self) -> int:
        """Octets of the longest line, its CRLF not counted."""
        return max(map(len, self.wire.split(b"\r\n")))


def files():
    """Paths of all messages, in an order that never changes."""
    found = [path for group in GROUPS for path in sorted((FOLDER / group).glob("*.txt"))]
    if not found:
        raise FileNotFoundError(f"no corpus in {FOLDER}: run ./dev setup")
    return found


def messages(every: int = 1, first: int = 0):
    """All messages, or each `every`-th from `first` on (so that workers can share them out)."""
    for path in files()[first::every]:
        yield Message(f"{path.parent.name}/{path.stem}", path.read_bytes())


if __name__ == "__main__":
    everything = list(messages())
    print(f"{len(everything)} messages, {sum(len(m.raw) for m in everything)} octets")
    for kind in ("has_nul", "has_bare_cr", "is_8bit"):
        print(f"{sum(getattr(m, kind) for m in everything):5d} {kind}")
    print(f"{sum(m.longest_line > 998 for m in everything):5d} with a line over 998 octets")
