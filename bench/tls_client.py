"""tls_client MODE PORT COUNT: begins TLS with an SMTP server on this host, again and again.

`shake`: COUNT full handshakes over STARTTLS, in four processes; prints `shook N tickets M`, where M
sessions were given a ticket. `bare`: the same without SMTP. `hold`: COUNT sessions that are held until
standard input ends; prints `held N`. It is a process of its own, so that what it uses is not counted
as the server's."""

import os
import resource
import socket
import ssl
import sys

PROCESSES = 4


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def reply(s: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\r\n") or said.split(b"\r\n")[-2][3:4] == b"-":
        more = s.recv(4096)
        if not more:
            break
        said += more
    return said


def started(tls: ssl.SSLContext, port: int, bare: bool) -> ssl.SSLSocket:
    s = socket.create_connection(("127.0.0.1", port), timeout=30)
    if not bare:
        for line, code in ((None, b"220"), (b"EHLO tls.example\r\n", b"250"), (b"STARTTLS\r\n", b"220")):
            if line:
                s.sendall(line)
            said = reply(s)
            if not said.startswith(code):
                raise OSError(f"{line!r} is answered {said!r}")
    return tls.wrap_socket(s)


def shake(port: int, count: int, bare: bool) -> tuple[int, int]:
    tls, done, tickets = context(), 0, 0
    for _ in range(count):
        s = started(tls, port, bare)
        if not bare:  # the ticket comes with the first octets
            s.sendall(b"QUIT\r\n")
            s.recv(512)
        done += 1
        tickets += bool(s.session and s.session.has_ticket)
        s.close()
    return done, tickets


def shake_side_by_side(port: int, count: int, bare: bool) -> None:
    pipes = []
    for n in range(PROCESSES):
        out, into = os.pipe()
        if os.fork() == 0:
            share = count // PROCESSES + (n < count % PROCESSES)
            os.write(into, "{} {}".format(*shake(port, share, bare)).encode())
            os._exit(0)
        os.close(into)
        pipes.append(out)
    results = [tuple(map(int, os.read(pipe, 100).split() or (0, 0))) for pipe in pipes]
    print(f"shook {sum(r[0] for r in results)} tickets {sum(r[1] for r in results)}", flush=True)


def hold(port: int, count: int) -> None:
    tls, held = context(), []
    try:
        for _ in range(count):
            s = started(tls, port, False)
            s.sendall(b"EHLO tls.example\r\n")
            if not s.recv(4096).startswith(b"250"):
                break
            held.append(s.detach())  # the connection stays; what Python keeps of it goes
    except OSError as error:
        print(f"session {len(held) + 1}: {error}", file=sys.stderr)
    print(f"held {len(held)}", flush=True)
    sys.stdin.read()


def main() -> None:
    mode, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if mode == "hold":
        hold(port, count)
    else:
        shake_side_by_side(port, count, mode == "bare")


main()
