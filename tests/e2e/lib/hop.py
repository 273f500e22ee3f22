"""hop: a next hop that misbehaves as it is told, over a raw socket.

    Hop({"RCPT": lambda hop, line: "550 5.1.1 no such user" if "nobody" in line else None})

Steps: CONNECT, EHLO, HELO, MAIL, RCPT, DATA, BDAT, `.` (the end of data), RSET, QUIT. What is given
for a step is a reply, one of CLOSE, RESET and SILENT, octets that are sent as they are and count as
no answer (without a line end at their end: then it closes), or a function of (hop, line) that
returns one of these, or None for the usual. What it takes, it keeps, octet for octet.

With `lmtp` it speaks LMTP (RFC 2033): LHLO counts as the step EHLO, `.` is a step for each accepted
recipient, with the address as its line, and each of them keeps a message of its own.

With `tls`, an ssl.SSLContext, it offers STARTTLS; with `handshake`, a function of the connection,
that is called in place of the handshake. `plain` has the steps that were said in clear, `agreed` one
entry for each handshake: version, name in SNI, was it a session resumed.

With `users`, passwords by name, it offers AUTH with `mechanisms` behind TLS and takes no MAIL before
that. AUTH is a step, with the whole command as its line; `logins` has a (mechanism, user, password)
for each try, right or wrong.
"""

import base64
import socket
import ssl
import threading

from .places import free_port
from .sink import Arrivals, Message


class _Act:
    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name


CLOSE, RESET, SILENT = _Act("CLOSE"), _Act("RESET"), _Act("SILENT")
EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 104857600", "DSN")


class _Gone(Exception):
    """The session is over."""


class Hop:
    def __init__(
        self,
        answers: dict | None = None,
        *,
        extensions: tuple[str, ...] = EXTENSIONS,
        port: int | None = None,
        keep=lambda message: message,
        tls: ssl.SSLContext | None = None,
        handshake=None,
        lmtp: bool = False,
        users: dict[str, str] | None = None,
        mechanisms: str = "PLAIN LOGIN",
    ):
        """`keep` makes what is kept of a message: for more mail than there is memory."""
        self.keep = keep
        self.answers = dict(answers or {})  # may be changed while it runs
        self.extensions = extensions
        self.lmtp = lmtp
        self.tls, self.handshake = tls, handshake
        self.users, self.mechanisms = users, mechanisms
        self.logins: list[tuple[str, str, str]] = []
        self.plain: list[str] = []
        self.agreed: list[tuple[str, str | None, bool]] = []
        self._names: dict[int, str] = {}  # SNI, by connection
        if tls:
            tls.sni_callback = lambda end, name, context: self._names.__setitem__(id(end), name)
        self.host, self.port = "127.0.0.1", port or free_port()
        self.transcript: list[str] = []
        self.sessions = 0
        self.clients: list[str] = []  # the addresses they came from
        self._arrivals = Arrivals()
        self.wait_for, self.clear = self._arrivals.wait_for, self._arrivals.clear
        self._stopping = threading.Event()
        self._seen = threading.Condition()
        self._steps: list[str] = []
        self._open: set[socket.socket] = set()

    @property
    def messages(self) -> list[Message]:
        return self._arrivals.messages

    @property
    def steps(self) -> list[str]:
        """The steps of all sessions so far, in order."""
        with self._seen:
            return list(self._steps)

    def wait_for_step(self, step: str, count: int = 1, seconds: float = 30.0) -> None:
        """Returns when the gateway has come to this step so many times."""
        with self._seen:
            if not self._seen.wait_for(lambda: self._steps.count(step) >= count, seconds):
                raise AssertionError(
                    f"{step} came {self._steps.count(step)} times, not {count}:\n"
                    + "\n".join(self.transcript[-40:])
                )

    def __enter__(self) -> "Hop":
        self._listener = socket.create_server(
            (self.host, self.port),
            family=socket.AF_INET6 if ":" in self.host else socket.AF_INET,
            backlog=512,
        )
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self) -> None:
        while True:
            try:
                connection, client = self._listener.accept()
            except OSError:
                return
            self.clients.append(client[0])
            self.sessions += 1
            threading.Thread(target=self._session, args=(connection,), daemon=True).start()

    def _session(self, connection: socket.socket) -> None:
        self._open.add(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = _Session(self, connection)
        try:
            session.run()
        except (_Gone, OSError):
            pass
        finally:
            self._open.discard(connection)
            session.close()

    def _note(self, step: str, secured: bool) -> None:
        with self._seen:
            self._steps.append(step)
            if not secured:
                self.plain.append(step)
            self._seen.notify_all()


class _Session:
    def __init__(self, hop: Hop, connection: socket.socket):
        self._hop = hop
        self._connection = connection
        self._in = connection.makefile("rb")
        self._secured = False
        self._user = ""
        self._forget()

    def close(self) -> None:
        self._connection.close()

    def _forget(self) -> None:
        self._mail: str | None = None
        self._mail_parameters: list[str] = []
        self._recipients: list[str] = []
        self._rcpt_parameters: list[list[str]] = []
        self._chunks = b""

    def run(self) -> None:
        self._answer("CONNECT", "", "220 hop.example ESMTP")
        while line := self._in.readline():
            text = line.decode("utf-8", "surrogateescape").removesuffix("\r\n")
            self._hop.transcript.append(f"> {text}")
            self._command(text)

    def _command(self, text: str) -> None:
        verb = text.split(" ", 1)[0].upper()
        usual = {"HELO": "250 hop.example", "RSET": "250 2.0.0 OK", "NOOP": "250 2.0.0 OK"}
        if verb == ("LHLO" if self._hop.lmtp else "EHLO"):
            lines = ["hop.example", *self._hop.extensions]
            if (self._hop.tls or self._hop.handshake) and not self._secured:
                lines.append("STARTTLS")
            if self._hop.users is not None and self._secured:
                lines.append(f"AUTH {self._hop.mechanisms}")
            self._answer(
                "EHLO",
                text,
                "\r\n".join(f"250{'-' if line is not lines[-1] else ' '}{line}" for line in lines),
            )
        elif verb == "AUTH" and self._hop.users is not None:
            self._authenticate(text)
        elif verb == "MAIL":
            stranger = self._hop.users is not None and not self._user
            usual = "530 5.7.0 log in first" if stranger else "250 2.1.0 OK"
            if self._answer("MAIL", text, usual):
                self._forget()
                self._mail, self._mail_parameters = self._path(text)
        elif verb == "RCPT":
            usual = "503 5.5.1 MAIL first" if self._mail is None else "250 2.1.5 OK"
            if self._answer("RCPT", text, usual):
                address, parameters = self._path(text)
                self._recipients.append(address)
                self._rcpt_parameters.append(parameters)
        elif verb == "DATA":
            usual = "354 go on" if self._recipients else "554 5.5.1 no valid recipients"
            if self._answer("DATA", text, usual):
                self._take(self._read_data(), text)
        elif verb == "BDAT":
            self._bdat(text)
        elif verb == "STARTTLS" and (self._hop.tls or self._hop.handshake):
            if self._answer("STARTTLS", text, "220 2.0.0 go on"):
                self._shake_hands()
        elif verb == "QUIT":
            self._answer("QUIT", text, "221 2.0.0 bye")
            raise _Gone
        else:
            if self._answer(verb, text, usual.get(verb, "502 5.5.2 unknown")) and verb == "RSET":
                self._forget()

    def _ask(self, challenge: str) -> str:
        self._hop.transcript.append(f"< 334 {challenge}")
        self._connection.sendall(f"334 {challenge}\r\n".encode())
        return base64.b64decode(self._in.readline().strip(), validate=True).decode()

    def _authenticate(self, text: str) -> None:
        plan = self._hop.answers.get("AUTH")
        if (plan(self._hop, text) if callable(plan) else plan) is not None:
            self._answer("AUTH", text, "")
            return
        words = text.split()
        if words[1] == "PLAIN":
            message = base64.b64decode(words[2]).decode() if words[2:] else self._ask("")
            _, user, password = message.split("\0")
        else:
            user, password = self._ask("VXNlcm5hbWU6"), self._ask("UGFzc3dvcmQ6")
        self._hop.logins.append((words[1], user, password))
        right = self._hop.users.get(user) == password
        if self._answer("AUTH", text, "235 2.7.0 in" if right else "535 5.7.8 no such user"):
            self._user = user

    def _shake_hands(self) -> None:
        hop = self._hop
        if hop.handshake:
            hop.handshake(self._connection)
            raise _Gone
        try:
            self._connection = hop.tls.wrap_socket(self._connection, server_side=True)
        except OSError as error:
            hop.transcript.append(f"= no TLS: {error}")
            raise
        end = self._connection
        name = hop._names.pop(id(end), None)
        hop.transcript.append(f"= {end.version()}")
        hop.agreed.append((end.version(), name, end.session_reused))
        hop._open.add(end)
        self._in = end.makefile("rb")
        self._secured = True
        self._forget()

    def _bdat(self, text: str) -> None:
        words = text.split()
        self._chunks += self._in.read(int(words[1]))
        if words[-1].upper() == "LAST":
            self._take(self._chunks, text)
        else:
            self._answer("BDAT", text, "250 2.0.0 chunk taken")

    def _take(self, content: bytes, line: str) -> None:
        if self._hop.lmtp:
            for address, parameters in zip(self._recipients, self._rcpt_parameters):
                self._keep([address], [parameters], content, address)
        else:
            self._keep(self._recipients, self._rcpt_parameters, content, line)
        self._forget()

    def _keep(self, recipients, parameters, content: bytes, line: str) -> None:
        message = Message(
            self._mail or "", recipients, self._mail_parameters, parameters, content
        )
        self._answer(".", line, "250 2.0.0 kept", keep=message)

    @staticmethod
    def _path(text: str) -> tuple[str, list[str]]:
        path, _, rest = text.partition(":")[2].partition(">")
        while rest and not rest.startswith(" "):  # a quoted local part with a bracket in it
            more, _, rest = rest.partition(">")
            path += ">" + more
        return path.lstrip().removeprefix("<"), rest.split()

    def _read_data(self) -> bytes:
        lines = []
        while (line := self._in.readline()) != b".\r\n":
            if not line:
                self._hop.transcript.append("> (closed in the middle of data)")
                raise _Gone
            lines.append(line.removeprefix(b".") if line.startswith(b".") else line)
        return b"".join(lines)

    def _answer(self, step: str, line: str, usual: str, keep: Message | None = None) -> bool:
        """Does what is planned for the step; true if that was a positive reply. A message is kept
        before its reply goes out, so that whoever saw the reply finds it."""
        self._hop._note(step, self._secured)
        plan = self._hop.answers.get(step)
        reply = plan(self._hop, line) if callable(plan) else plan
        reply = usual if reply is None else reply
        if isinstance(reply, _Act):
            self._hop.transcript.append(f"< ({reply})")
            if reply is SILENT:
                self._hop._stopping.wait()
            if reply is RESET:
                self._connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                )
            raise _Gone
        if isinstance(reply, bytes):
            self._hop.transcript.append(f"< {reply[:200]!r}")
            self._connection.sendall(reply)
            if not reply.endswith(b"\n"):
                raise _Gone  # nobody waits for the rest
            return False
        positive = reply[0] in "23"
        if keep and positive:
            self._hop._arrivals.add(self._hop.keep(keep))
        self._hop.transcript.append(f"< {reply}")
        self._connection.sendall(reply.encode("utf-8", "surrogateescape") + b"\r\n")
        if reply.startswith("421"):
            raise _Gone
        return positive
