"""./dev demo: mail goes through, to be watched.

Starts the sink as next hop, a gateway with fresh settings that point at it, and a trickle of sample
mail. All of it lives in a temporary folder and on free ports, and is gone after Ctrl-C.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_LIMIT = 20  # seconds

SAMPLES = [
    ("Invoice 2041", "Please find the invoice for October below.\n\n  12 hours at 80.00   960.00\n"),
    ("Grüße aus Köln", "Das Wetter ist schön, die Brücken stehen noch.\n"),
    ("Re: backup of Sunday", "> did it run?\n.\nIt did. (The line above is one dot, alone.)\n"),
    ("Minutes of the meeting", "1. Present: all.\n2. Decided: to decide next week.\n"),
    ("A longer one", "All work and no play makes Jack a dull boy.\n" * 400),
]


def say(text):
    print(f"demo  {text}", flush=True)


class Child:
    """A process whose lines are shown, each behind its name, and searched for one to wait for."""

    def __init__(self, name, command, waited_for):
        self.name = name
        self.waited_for = re.compile(waited_for)
        self.found = None
        self.ready = threading.Event()
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            if not self.found:
                self.found = self.waited_for.search(line)
            print(f"{self.name:5s} {line}", end="", flush=True)
            if self.found:
                self.ready.set()
        self.ready.set()

    def wait(self):
        if not self.ready.wait(START_LIMIT) or not self.found:
            raise SystemExit(f"demo  the {self.name} did not start")
        return self.found

    def end(self):
        """Asks, waits, and at last insists."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def settings(next_hop_port):
    return {
        "connections": {"interface": {"address": "loopback", "port": free_port()}},
        "delivery": {"routes": [{
            "domain": "*", "next_hops": [{"host": "127.0.0.1", "port": next_hop_port}]}]},
    }


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def sample(number):
    subject, text = SAMPLES[number % len(SAMPLES)]
    mail = EmailMessage()
    mail["From"] = "Alice <alice@example.com>"
    mail["To"] = f"bob{number}@example.net"
    mail["Subject"] = subject
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain="example.com")
    mail.set_content(text)
    return mail


def send(port, numbers, pause):
    for number in numbers:
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                client.send_message(sample(number))
        except (OSError, smtplib.SMTPException) as error:
            say(f"not accepted: {error}")
        time.sleep(pause)


def main():
    options = argparse.ArgumentParser(prog="./dev demo", description=__doc__.split("\n\n")[0])
    options.add_argument("--count", type=int, help="end after so many messages (default: Ctrl-C)")
    options.add_argument("--pause", type=float, default=1.0, help="seconds between them (1)")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    folder = Path(tempfile.mkdtemp(prefix="postern-demo."))
    children = []
    try:
        sink = Child("sink", ["build/postern-sink", "--listen", "127.0.0.1:0"],
                     r"^listening .*:(\d+)")
        children.append(sink)
        document = folder / "settings.json"
        document.write_text(json.dumps(settings(int(sink.wait()[1])), indent=2))
        gateway = Child("gate", ["build/postern", "run", "--state", str(folder / "state"),
                                 "--console", "127.0.0.1:0", "--apply", str(document)],
                        r"^ready smtp=\S*:(\d+)")
        children.append(gateway)
        port = int(gateway.wait()[1])
        say(f"the gateway takes mail on 127.0.0.1:{port}; what reaches the next hop is shown below")
        say(f"try it: swaks --server 127.0.0.1:{port} --from me@example.com --to you@example.net")
        say("Ctrl-C ends it all")
        numbers = range(chosen.count) if chosen.count else itertools.count()
        send(port, numbers, chosen.pause)
        time.sleep(1)  # the last ones are on their way
    except KeyboardInterrupt:
        pass
    finally:
        for child in reversed(children):
            child.end()
        shutil.rmtree(folder, ignore_errors=True)
        say("all gone")


if __name__ == "__main__":
    main()
