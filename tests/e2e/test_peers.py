"""Real servers as next hops: what stands in the mailbox is what was received, octet for octet."""

import sys

import pytest

from lib import Postern, ROOT, make_message, split_trace, temporary_folder

sys.path.insert(0, str(ROOT / "bench"))
import peers

ALL = "CHUNKING PIPELINING 8BITMIME"


def mixed():
    """Messages of every kind that a mailbox keeps as it is: lines of dots, 8-bit octets, a long line,
    some size."""
    bodies = [
        b".\r\n..\r\n.x\r\n",
        "Grüße\r\n".encode() * 50,
        bytes(range(128, 256)) * 3 + b"\r\n",
        b"x" * 900 + b"\r\n",
        b"no line of mine\r\n" * 20_000,
        b"",
        b"\r\n\r\n\r\n",
        b"\tfolded\r\n From here\r\nFrom there\r\n",
    ]
    return [make_message(f"number {n}", body=body) for n, body in enumerate(bodies * 3)]


def deliver(gateway, messages):
    with gateway.client() as client:
        client.hello()
        for n, message in enumerate(messages):
            client.delivers(
                message, f"m{n}@source.example", "b@sink.example", parameters=" BODY=8BITMIME"
            )


def in_the_box(folder, count, gateway):
    gateway.wait_until(
        lambda: folder.is_dir() and len(list(folder.iterdir())) >= count, "all in the Maildir"
    )
    for path in folder.iterdir():
        octets = path.read_bytes()
        sender = next(l for l in octets.split(b"\n") if l.startswith(b"Return-path: "))
        ours = octets.index(b"by gw.example")
        start = octets.rindex(b"\nReceived: ", 0, ours) + 1
        yield (
            int(sender.partition(b"<m")[2].partition(b"@")[0]),
            split_trace(octets[start:].replace(b"\n", b"\r\n"))[1],
        )


@pytest.mark.parametrize(
    "offers",
    [
        {},
        {"chunking_advertise_hosts": ""},
        {"chunking_advertise_hosts": "", "pipelining_advertise_hosts": ""},
        {"dsn_advertise_hosts": "*"},
    ],
    ids=["as it comes", "without CHUNKING", "step by step", "with DSN"],
)
def test_exim_keeps_every_octet(root, offers):
    messages = mixed()
    with temporary_folder() as folder:
        folder.chmod(0o755)
        with peers.Exim(folder / "exim", offers=offers) as exim, Postern(exim) as gateway:
            deliver(gateway, messages)
            gateway.settle()
            kept = dict(in_the_box(exim.maildir / "new", len(messages), gateway))
    assert sorted(kept) == list(range(len(messages)))
    for n, message in enumerate(messages):
        assert kept[n] == message, f"number {n}"


def test_eight_bits_are_returned_by_an_exim_that_cannot_take_them(root):
    """RFC 6152 3: what cannot be sent as it is goes back; nothing is converted."""
    with temporary_folder() as folder:
        folder.chmod(0o755)
        with peers.Exim(folder / "exim", offers={"accept_8bitmime": "false"}) as exim, Postern(
            exim
        ) as gateway:
            deliver(gateway, ["Subject: x\r\n\r\nGrüße\r\n".encode()])
            gateway.settle()
            box = exim.maildir / "new"
            gateway.wait_until(lambda: box.is_dir() and list(box.iterdir()), "the notice")
            (notice,) = box.iterdir()
            assert b"5.6.3" in notice.read_bytes() and notice.read_bytes().isascii()
