"""Next hops that misbehave in every way, from a generated script: each recipient ends exactly once.

The seed is printed; POSTERN_SEED repeats a run's script."""

import email
import os
import random
import re
import threading

import pytest

from lib import CLOSE, RESET, Hop, Postern, Sink, make_message, split_trace

MESSAGES = 60
MISCHIEF = 150  # so many acts of it, then the next hops behave
STEPS = ("CONNECT", "EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", ".", "RSET")


def silent_for_a_while(hop, line):
    """As long as a test can wait: the gateway's own limits are minutes (RFC 5321 4.5.3.2)."""
    threading.Event().wait(0.1)
    return CLOSE


# What any step may meet. Octets are sent as they are and are never a promise to have taken a
# message: what a gateway reads as 2xx after the final dot must be one.
ANYWHERE = (
    CLOSE,
    RESET,
    silent_for_a_while,
    "421 4.3.2 not now",
    "421-4.3.2 not\r\n421 4.3.2 now",
    "451 4.3.0 later",
    "452-4.3.1 one\r\n452-4.3.1 two\r\n452 4.3.1 three",
    b"250-never\r\n" * 250,
    b"250-one\r\n451 another\r\n",
    b"999 what\r\n",
    b"2 5 0\r\n",
    b"nonsense\r\n",
    b"\0\0\0\r\n",
    b"250 no line end",
    b"\r\n",
    b"250 " + b"x" * 100_000 + b"\r\n",
    b"451 4.0.0 " + b"y" * 1500 + b"\r\n",
    b"600 \xff\xfe\r\n250 \x80\r\n",
    "450 4.7.1 \x1b[31mred\0 \x7f",
)
# What is for good.
REFUSALS = ("550 5.1.1 no", "554-5.7.9 never\r\n554 5.7.9 ever", "552 5.2.2 full")
# Replies to what was not asked yet. Not to RCPT: a 250 is a promise there, which these do not keep.
EARLY = (b"250 2.0.0 ok\r\n250 2.0.0 too early\r\n", b"354 go on\r\n354 go on\r\n")
OFFERS = (
    ("PIPELINING", "8BITMIME", "SIZE", "DSN", "ENHANCEDSTATUSCODES"),
    ("8BITMIME",),
    ("PIPELINING", "8BITMIME", "CHUNKING"),
    ("CHUNKING", "8BITMIME", "LIMITS MAILMAX=2 RCPTMAX=1"),
    (),
)


class Mischief:
    """One generator for all sessions of all next hops; which session meets what depends on their
    order, what is invented only on the seed."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.left = MISCHIEF

    def answer(self, step: str):
        def choose(hop, line):
            with self._lock:
                r = self._random
                if step == "EHLO" and r.random() < 0.5:
                    lines = ["hop.example", *r.choice(OFFERS)]
                    return "\r\n".join(
                        f"250{' ' if i == len(lines) - 1 else '-'}{l}" for i, l in enumerate(lines)
                    )
                if self.left <= 0 or r.random() > 0.35:
                    return None
                self.left -= 1
                if step == "DATA" and r.random() < 0.2:
                    return "354 go on"  # even when every recipient was refused
                if step == "EHLO" and r.random() < 0.3:
                    return "502 5.5.1 what?"
                if step in ("MAIL", "RCPT", "DATA", ".") and r.random() < 0.2:
                    return r.choice(REFUSALS)
                if step in ("EHLO", "MAIL") and r.random() < 0.15:
                    return r.choice(EARLY)
                act = r.choice(ANYWHERE)
            return act(hop, line) if callable(act) else act

        return choose


def ends_of(gateway) -> dict[str, list[str]]:
    """How each recipient ended, as the log has it."""
    ends: dict[str, list[str]] = {}
    for line in gateway.log_octets().decode(errors="replace").splitlines():
        event = re.search(r'"event":"(delivered|bounced)"', line)
        names = re.search(r'"recipients":"([^"]*)"', line)
        if event and names and '"reverse_path":"a@source.example"' in line:
            for name in names[1].split(","):
                ends.setdefault(name, []).append(event[1])
    return ends


def bounced_in(message) -> list[str]:
    mail = email.message_from_bytes(message.content)
    report = next(p for p in mail.walk() if p.get_content_type() == "message/delivery-status")
    return [
        group["Final-Recipient"].split(";")[1].strip()
        for group in report.get_payload()
        if group["Final-Recipient"]
    ]


def life_of(names, gateway, *hops) -> str:
    """What the log and the next hops have about these recipients."""
    log = gateway.log_octets().decode(errors="replace").splitlines()
    talk = [line for hop in hops for line in hop.transcript]
    return "\n".join(
        [line for line in log if any(name in line for name in names)]
        + ["\n".join(talk[max(0, i - 4) : i + 12]) for i, line in enumerate(talk)
           if any(name in line for name in names)]
    )


@pytest.mark.parametrize("number", range(3))
def test_each_recipient_ends_exactly_once(number):
    seed = int(os.environ.get("POSTERN_SEED") or random.SystemRandom().randrange(2**32))
    print(f"again: POSTERN_SEED={seed}")
    mischief = Mischief(seed)
    answers = {step: mischief.answer(step) for step in STEPS}
    r = random.Random(seed + 1)
    contents = {}
    with Hop(answers) as first, Hop(answers) as second, Sink() as home:
        routes = [
            {"domain": "source.example", "next_hops": [{"host": "127.0.0.1", "port": home.port}]},
            {
                "domain": "*",
                "next_hops": [{"host": "127.0.0.1", "port": hop.port} for hop in (first, second)],
            },
        ]
        with Postern(settings={"delivery": {"routes": routes}}) as gateway:
            with gateway.client() as client:
                client.hello()
                for n in range(MESSAGES):
                    content = make_message(f"number {n}", body=b".dot\r\nx\r\n" * r.randrange(1, 400))
                    names = [f"r{n}-{i}@sink.example" for i in range(r.choice((1, 1, 2, 5)))]
                    contents.update(dict.fromkeys(names, content))
                    client.delivers(content, "a@source.example", *names)

            def over():
                status, _ = gateway.api("POST", "/api/v1/queue/retry", {"all": True})
                assert status == 200
                return not gateway.queue()

            gateway.wait_until(over, "all has ended", 120)
            gateway.api("POST", "/api/v1/log/flush")
            ends = ends_of(gateway)

            arrived = [(name, m) for hop in (first, second) for m in hop.messages for name in m.recipients]
            delivered = sorted(name for name, _ in arrived)
            bounced = sorted(name for m in home.messages for name in bounced_in(m))
            assert mischief.left < MISCHIEF / 2
            wrong = [n for n in contents if (delivered + bounced).count(n) != 1]
            assert not wrong, f"{wrong}\n{life_of(wrong, gateway, first, second)}"
            assert {name: [end] for name, (end,) in ends.items()} == {
                **{name: ["delivered"] for name in delivered},
                **{name: ["bounced"] for name in bounced},
            }
            for name, message in arrived:
                assert split_trace(message.content)[1] == contents[name]


def test_a_reply_without_end_is_bounded_wherever_it_is_kept():
    endless = "550-5.1.1 " + "word " * 390
    with Hop({"RCPT": lambda hop, line: "\r\n".join([endless] * 150 + ["550 5.1.1 end"])
              if "nobody" in line else None}) as hop, Postern(hop) as gateway:
        with gateway.client() as client:
            client.hello()
            client.delivers(make_message(), "a@source.example", "nobody@sink.example")
        hop.wait_for(1)
        gateway.settle()
        content = hop.messages[0].content
        assert len(content) < 8192
        assert max(map(len, content.split(b"\r\n"))) <= 998
        assert max(map(len, gateway.log_octets().splitlines())) < 4096
