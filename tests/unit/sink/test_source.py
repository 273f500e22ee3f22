"""postern-source sends what it is told, as many octets and messages, and tells when it cannot."""

import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

SINK, SOURCE = sys.argv.pop(1), sys.argv.pop(1)
LIMIT = 60  # seconds until something hangs


def source(port, *options):
    return subprocess.run(
        [SOURCE, "--to", f"127.0.0.1:{port}", *options],
        capture_output=True, text=True, timeout=LIMIT)


class SourceTest(unittest.TestCase):
    def through_sink(self, *options, sink=()):
        """The sink's totals and the messages."""
        with tempfile.TemporaryDirectory(prefix="postern-source.") as folder:
            process = subprocess.Popen(
                [SINK, "--listen", "127.0.0.1:0", "--store", folder + "/mail", "--quiet", *sink],
                stdout=subprocess.PIPE, text=True)
            try:
                port = int(process.stdout.readline().rsplit(":", 1)[1])
                run = source(port, *options)
                process.terminate()
                totals = process.communicate(timeout=LIMIT)[0]
                stored = [path.read_bytes() for path in Path(folder, "mail", "new").iterdir()]
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return totals.strip(), stored

    def test_every_size_is_exact(self):
        for size in (86, 87, 200, 4096, 65535, 65536, 131072, 3_000_001):
            with self.subTest(size=size):
                totals, stored = self.through_sink("--size", str(size))
                self.assertEqual(totals, f"1 messages, {size} octets, 1 connections")
                self.assertEqual(len(stored[0]), size)
                self.assertTrue(stored[0].endswith(b"\r\n"))
                self.assertLess(max(map(len, stored[0].split(b"\r\n"))), 160)

    def test_a_connection_a_message_or_kept(self):
        totals, stored = self.through_sink("--messages", "50", "--sessions", "7")
        self.assertEqual(totals, "50 messages, 204800 octets, 50 connections")
        self.assertEqual(len(set(stored)), 1)
        totals, _ = self.through_sink("--messages", "50", "--sessions", "7", "--kept")
        self.assertEqual(totals, "50 messages, 204800 octets, 7 connections")

    def test_over_tls(self):
        with tempfile.TemporaryDirectory(prefix="postern-source.") as folder:
            pem = Path(folder, "sink.pem")
            key = Path(folder, "sink.key")
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=sink.invalid",
                 "-out", pem, "-keyout", key], check=True, capture_output=True)
            pem.write_bytes(pem.read_bytes() + key.read_bytes())
            totals, stored = self.through_sink("--size", "3000001", "--messages", "6", "--sessions",
                                               "2", "--tls", sink=["--tls", str(pem)])
        self.assertEqual(totals, "6 messages, 18000006 octets, 6 connections")
        self.assertEqual(len(set(stored)), 1)

    def test_tls_that_is_not_offered_is_trouble(self):
        with self.assertRaises(AssertionError):
            self.through_sink("--tls")

    def test_a_refusal_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def refuse():
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"554-not\r\n554 today\r\n")
                    connection.recv(100)
            thread = threading.Thread(target=refuse)
            thread.start()
            run = source(listener.getsockname()[1])
            thread.join()
        self.assertEqual(run.returncode, 1)
        self.assertIn("554 today", run.stderr)
        self.assertIn("0 of 1 messages", run.stderr)

    def test_many_recipients_in_several_domains(self):
        lines = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def serve():
                connection, _ = listener.accept()
                with connection, connection.makefile("rwb") as wire:
                    wire.write(b"220 here\r\n")
                    wire.flush()
                    data = False
                    for line in wire:
                        lines.append(line.decode().strip())
                        if data and line != b".\r\n":
                            continue
                        data = line == b"DATA\r\n"
                        wire.write(b"354 go\r\n" if data else b"250 yes\r\n")
                        wire.flush()
            thread = threading.Thread(target=serve)
            thread.start()
            run = source(listener.getsockname()[1], "--recipients", "3", "--domains", "2",
                         "--messages", "2", "--kept")
            thread.join()
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual([line for line in lines if line.startswith("RCPT")],
                         2 * ["RCPT TO:<0b@d0.sink.example>", "RCPT TO:<1b@d1.sink.example>",
                              "RCPT TO:<2b@d0.sink.example>"])

    def test_wrong_usage_is_2(self):
        for options in (["--nonsense"], ["--size", "x"], ["--messages", "0"]):
            self.assertEqual(source(1, *options).returncode, 2)


if __name__ == "__main__":
    unittest.main()
