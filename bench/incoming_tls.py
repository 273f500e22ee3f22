"""incoming_tls: what TLS with clients costs: processor time of a full handshake, memory of an idle
session. Beside the servers runs `openssl s_server`, which does the handshake and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import load
import peers
import proc
import servers

HERE = Path(__file__).resolve().parent


class Bare:
    """OpenSSL's own server: no SMTP, one ticket a session, as the others."""

    def __init__(self, pem: Path, log: Path):
        self.port = peers.free_port()
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [
                    *("openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-quiet"),
                    *("-cert", pem, "-key", pem, "-num_tickets", "1"),
                ],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                preexec_fn=proc.die_with_parent,
            )
        self.pid = self.process.pid

    def start(self) -> None:
        for _ in range(1000):
            try:
                subprocess.run(
                    [sys.executable, HERE / "tls_client.py", "bare", str(self.port), "4"],
                    check=True,
                    capture_output=True,
                )
                return
            except subprocess.CalledProcessError:
                continue
        raise peers.PeerError("openssl s_server does not start")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def certificate(folder: Path) -> Path:
    """A key ECDSA P-256 and its certificate, in one file."""
    pem, key = folder / "server.pem", folder / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=server.invalid"),
            *("-out", pem, "-keyout", key),
        ],
        check=True,
        capture_output=True,
    )
    pem.write_bytes(key.read_bytes() + pem.read_bytes())  # the order that Postfix wants
    return pem


def offer(server: servers.Postern, pem: Path) -> None:
    """Installs the certificate and switches STARTTLS on, as an administrator does."""

    def postern(*words: str | Path) -> str:
        command = [server.binary, *words, "--state", server.work / "state"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    postern("tls", "install", "--cert", pem, "--key", pem)
    document = json.loads(postern("settings", "export"))
    document["connections"]["tls"]["incoming"] = True
    path = server.work / "with-tls.json"
    path.write_text(json.dumps(document))
    postern("settings", "apply", path)


def made(bench, name: str, sink: load.Sink, pem: Path, sessions: int):
    """A server that offers STARTTLS, started."""
    if name == "postfix":
        server = servers.Postfix(
            bench.work / "postfix",
            sink.port,
            process_limit=max(100, sessions),
            settings={
                "smtpd_tls_security_level": "may",
                "smtpd_tls_chain_files": str(pem),
            },
        )
    else:
        server = bench.make(name, sink)
    server.start()
    if name == "postern":
        offer(server, pem)
    return server


def shake(server, mode: str, count: int) -> tuple[float, float]:
    """Milliseconds of processor time for each handshake, and the share of sessions with a ticket."""
    before = proc.usage(server.pid)
    run = subprocess.run(
        [sys.executable, HERE / "tls_client.py", mode, str(server.port), str(count)],
        capture_output=True,
        text=True,
        preexec_fn=proc.die_with_parent,
    )
    words = run.stdout.split()
    if not words or int(words[1]) != count:
        raise load.Stalled(f"tls_client: {run.stdout}{run.stderr[-400:]}")
    return (proc.usage(server.pid) - before).cpu * 1000 / count, int(words[3]) / count


def handshakes(bench, row) -> float:
    """Rounds alternate between the servers and OpenSSL alone, whose milliseconds are returned."""
    pem = certificate(bench.folder("tls"))
    names = [name for name in bench.options.servers if name != "opensmtpd"]
    count, bare_values = bench.count(4000), []
    bare = Bare(pem, bench.folder("tls") / "s_server.log")
    running = {}
    try:
        bare.start()
        for name in names:
            sink = load.Sink(bench.folder(name))
            running[name] = (None, sink)
            running[name] = (made(bench, name, sink, pem, 100), sink)
            shake(running[name][0], "shake", 40)
        for _ in range(bench.options.rounds):
            value, share = shake(bare, "bare", count)
            bare_values.append(value)
            bench.say(f"handshake: OpenSSL alone {value:.3f} ms, {share:.0%} with a ticket")
            for name in names:
                value, share = shake(running[name][0], "shake", count)
                row.add(name, value)
                bench.say(f"handshake: {name} {value:.3f} ms, {share:.0%} with a ticket")
    finally:
        bare.stop()
        for server, sink in running.values():
            if server is not None:
                server.stop()
            sink.close()
    middle = sorted(bare_values)[len(bare_values) // 2]
    bench.lines.append(
        f"A full handshake costs `openssl s_server`, which does nothing else, {middle:.3f} ms "
        f"({min(bare_values):.3f}–{max(bare_values):.3f}); each is set up to give one ticket a session."
    )
    return middle


def idle(bench, row) -> None:
    """Memory that held sessions add to a server that has just been started."""
    pem = certificate(bench.folder("tls"))
    for name in [name for name in bench.options.servers if name != "opensmtpd"]:
        count = {"postfix": 500}.get(name, 5000)
        count = min(count, 50 if bench.options.quick else count)
        with load.Sink(bench.folder(name)) as sink:
            server = made(bench, name, sink, pem, count + 50)
            try:
                shake(server, "shake", 40)
                held, octets = proc.memory_of_sessions(
                    server.pid, [HERE / "tls_client.py", "hold", str(server.port), str(count)]
                )
            finally:
                server.stop()
        if held:
            row.add(name, octets / held / 1024)
        row.notes[name] = f"{held:,} held" if held else "none held"
        bench.say(f"idle TLS: {name} {held} held, {octets / max(held, 1):.0f} octets each")
