"""postern-sink keeps every message octet for octet, however it was cut into packets.

The tests and the demo believe what the sink says, so it is tested by itself: a conversation over a
socket, compared with what lies in the Maildir afterwards.
"""

import random
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

SINK = sys.argv.pop(1)
LIMIT = 60  # seconds until something hangs

BODIES = [
    b"",
    b"\r\n",
    b".\r\n",
    b"..\r\n...\r\n.\r\n",
    b"Subject: x\r\n\r\n.hidden\r\n",
    b"no blank line",
    b"ends in CR\r\r\n",
    b"\r\r\r\n.\r\r\n",
    b"bare LF\n.\nand\n.\r\nstays\r\n",
    b"nul\0and\xff\r\n",
    bytes(range(256)) * 40 + b"\r\n",
    b"x" * 100000 + b"\r\n",
    b"\r\n." * 5000 + b"\r\n",
]


def stuffed(body):
    """As DATA carries it; the end marker needs a line end before it."""
    body = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    return (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


class Sink:
    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="postern-sink.")
        self.store = Path(self.folder.name) / "mail"
        self.process = subprocess.Popen(
            [SINK, "--listen", "127.0.0.1:0", "--store", str(self.store), *options],
            stdout=subprocess.PIPE)
        first = self.process.stdout.readline().decode()
        self.port = int(first.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()

    def end(self):
        """Its last words."""
        self.process.send_signal(signal.SIGTERM)
        output = self.process.communicate(timeout=LIMIT)[0].decode()
        assert self.process.returncode == 0
        return output

    def stored(self):
        return sorted(path.read_bytes() for path in (self.store / "new").iterdir())

    def talk(self, octets, cut=None):
        """Sends all, pipelined, in pieces of random size; the replies."""
        pieces = random.Random(cut)
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as s:
            def send():
                at = 0
                while at < len(octets):
                    n = pieces.choice((1, 2, 3, 50, 4000, 70000)) if cut else len(octets)
                    try:
                        s.sendall(octets[at:at + n])
                    except ConnectionError:
                        return
                    at += n
            sender = threading.Thread(target=send)
            sender.start()
            replies = b""
            try:
                while part := s.recv(65536):
                    replies += part
            except ConnectionResetError:
                pass  # closed with something unread: what came before counts
            sender.join()
        return replies.decode()


ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\n"


class SinkTest(unittest.TestCase):
    def same(self, got, want):
        """Compared without showing: the bodies are long."""
        self.assertEqual(list(map(len, got)), list(map(len, want)))
        for one, other in zip(got, want):
            self.assertTrue(one == other, one[:40])

    def test_data_arrives_octet_for_octet(self):
        want = sorted(b if b.endswith(b"\r\n") or not b else b + b"\r\n" for b in BODIES)
        wire = b"EHLO x\r\n" + b"".join(ENVELOPE + b"DATA\r\n" + stuffed(b) for b in BODIES)
        for cut in (None, 1, 2):
            with self.subTest(cut=cut), Sink("--quiet") as sink:
                replies = sink.talk(wire + b"QUIT\r\n", cut)
                self.same(sink.stored(), want)
                self.assertEqual(replies.count("250 2.0.0 Taken\r\n"), len(BODIES))
                self.assertTrue(replies.endswith("221 2.0.0 Bye\r\n"))
                self.assertIn(f"{len(BODIES)} messages, {sum(map(len, want))} octets", sink.end())

    def test_chunks_arrive_octet_for_octet(self):
        wire = b"EHLO x\r\n"
        for body in BODIES:
            half = len(body) // 2
            wire += ENVELOPE + b"BDAT %d\r\n" % half + body[:half]
            wire += b"BDAT %d LAST\r\n" % (len(body) - half) + body[half:]
        for cut in (None, 3):
            with self.subTest(cut=cut), Sink("--quiet") as sink:
                replies = sink.talk(wire + b"QUIT\r\n", cut)
                self.same(sink.stored(), sorted(BODIES))
                self.assertEqual(replies.count("250 2.0.0 Taken\r\n"), len(BODIES))

    def test_a_message_arrives_over_tls(self):
        body = b"Subject: x\r\n\r\n" + b"%s\r\n" % (b"y" * 70) * 20000
        with tempfile.TemporaryDirectory(prefix="postern-sink.") as folder:
            pem = Path(folder) / "sink.pem"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-days", "2", "-subj", "/CN=sink", "-out", pem, "-keyout", pem.with_suffix(".key")],
                check=True, capture_output=True)
            pem.write_bytes(pem.read_bytes() + pem.with_suffix(".key").read_bytes())
            with Sink("--quiet", "--tls", str(pem)) as sink:
                with smtplib.SMTP("127.0.0.1", sink.port, timeout=LIMIT) as client:
                    client.starttls(context=ssl._create_unverified_context())
                    client.ehlo()
                    self.assertFalse(client.has_extn("starttls"))
                    client.sendmail("a@example.com", "b@example.net", body)
                self.same(sink.stored(), [body])

    def test_only_crlf_dot_crlf_ends_a_message(self):
        for ending in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n.x\r\n"):
            with self.subTest(ending=ending), Sink("--quiet") as sink:
                sink.talk(ENVELOPE + b"DATA\r\none" + ending + b"MAIL FROM:<x@x>\r\n\r\n.\r\nQUIT\r\n")
                self.assertEqual(len(sink.stored()), 1)
                self.assertIn(b"MAIL FROM", sink.stored()[0])

    def test_bare_line_ends_and_nul_in_commands_are_refused(self):
        for command in (b"NOOP\n", b"NO\0OP\r\n", b"\n", b"x" * 20000):
            with self.subTest(command=command[:10]), Sink("--quiet") as sink:
                self.assertIn("500 5.5.2", sink.talk(command + b"QUIT\r\n"))

    def test_a_message_cut_off_leaves_nothing(self):
        with Sink("--quiet") as sink, \
                socket.create_connection(("127.0.0.1", sink.port), timeout=LIMIT) as s:
            s.sendall(ENVELOPE + b"DATA\r\nhalf a mess")
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
            self.assertEqual(sink.stored(), [])
            self.assertEqual(list((sink.store / "tmp").iterdir()), [])

    def test_it_tells_what_it_took_and_nothing_that_drives_a_terminal(self):
        with Sink() as sink:
            sink.talk(b"MAIL FROM:<a\x1b[31m@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
                      b"X: y\r\nsubject: Hello\x07 there\r\n\r\nSubject: no\r\n.\r\nQUIT\r\n")
            output = sink.end()
        self.assertIn("<a?[31m@example.com> -> <b@example.net>  44 octets  Hello? there", output)
        self.assertNotIn("\x1b", output)

    def test_wrong_usage_is_2(self):
        for options in (["--nonsense"], ["surplus"]):
            run = subprocess.run([SINK, *options], capture_output=True)
            self.assertEqual(run.returncode, 2)
        run = subprocess.run([SINK, "--listen", "nowhere"], capture_output=True)
        self.assertEqual((run.returncode, run.stdout), (1, b""))
        self.assertEqual(subprocess.run([SINK, "--help"], capture_output=True).returncode, 0)


if __name__ == "__main__":
    unittest.main()
