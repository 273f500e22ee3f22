"""idle_client HOST PORT COUNT: opens COUNT sessions, says EHLO in each and holds them.

Prints `held N` (N is less than COUNT when the server takes no more) and ends when its standard
input does. It is a process of its own, so that what it holds is not counted as the server's."""

import resource
import socket
import sys


def main() -> None:
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    try:
        for _ in range(count):
            s = socket.create_connection((host, port), timeout=15)
            greeting = s.recv(512)
            s.sendall(b"EHLO idle.example\r\n")
            if not greeting.startswith(b"220") or not s.recv(4096).startswith(b"250"):
                break
            held.append(s)
    except OSError as error:
        print(f"session {len(held) + 1}: {error}", file=sys.stderr)
    print(f"held {len(held)}", flush=True)
    sys.stdin.read()


main()
