"""client: one side of an SMTP conversation, octet by octet.

    c.says("EHLO a.example").expect(250)
    c.says("MAIL FROM:<a@a.example>").expect(250)
"""

import socket
import ssl
from dataclasses import dataclass


class ConversationError(AssertionError):
    """The server said something else, or nothing; the message has the transcript."""


@dataclass(frozen=True)
class Reply:
    code: int
    lines: list[str]  # without the code

    @property
    def enhanced(self) -> str:
        """The enhanced status, or an empty string."""
        word = self.lines[-1].split(" ", 1)[0]
        return word if word.count(".") == 2 and word.replace(".", "").isdigit() else ""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def any_certificate(**more) -> ssl.SSLContext:
    """A context that takes whatever certificate is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT, **more)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout: float = 20.0,
        source: str | None = None,
        greeting: int | None = 220,
        tls: ssl.SSLContext | None = None,
    ):
        """Connects, with `tls` shakes hands at once, and expects the greeting unless that is None."""
        self.transcript: list[str] = []
        self._buffer = b""
        self._socket = socket.create_connection(
            (host, port), timeout=timeout, source_address=(source, 0) if source else None
        )
        if tls is not None:
            self.shakes_hands(tls)
        if greeting is not None:
            self.greeting = self.expect(greeting)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Goes away the rude way: the server sees a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()

    # ---- TLS ----

    def shakes_hands(
        self,
        context: ssl.SSLContext,
        *,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """The TLS handshake; `tls` is the socket then."""
        assert not self._buffer, f"said in clear before the handshake: {self._buffer!r}"
        self._socket = context.wrap_socket(self._socket, server_hostname=name, session=session)
        self.transcript.append(f"C: (TLS: {self._socket.version()}, {self._socket.cipher()[0]})")
        return self._socket

    def starts_tls(self, context: ssl.SSLContext | None = None, **more) -> "Client":
        """EHLO, STARTTLS, the handshake, EHLO; without a context any certificate will do."""
        self.hello()
        self.says("STARTTLS").expect(220, enhanced="2.0.0")
        self.shakes_hands(context or any_certificate(), **more)
        self.hello()
        return self

    @property
    def tls(self) -> ssl.SSLSocket:
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket

    # ---- speaking ----

    def says(self, line: str | bytes) -> "Client":
        """One command line; its CRLF is added."""
        return self.sends((line.encode() if isinstance(line, str) else line) + b"\r\n")

    def sends(self, octets: str | bytes) -> "Client":
        """Exactly these octets. A server that has hung up shows at the next expect()."""
        octets = octets.encode() if isinstance(octets, str) else octets
        self.transcript.append(
            f"C: {octets[:300]!r}{f' … {len(octets)} octets' if len(octets) > 300 else ''}"
        )
        try:
            self._socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            self.transcript.append("C: (could not be sent)")
        return self

    def ends_sending(self) -> "Client":
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def sends_message(self, content: bytes) -> "Client":
        """Content as DATA wants it: dots stuffed, the end marker added."""
        assert content == b"" or content.endswith(b"\r\n")
        stuffed = (b"." if content.startswith(b".") else b"") + content.replace(b"\r\n.", b"\r\n..")
        return self.sends(stuffed + b".\r\n")

    def hello(self, name: str = "client.example") -> Reply:
        return self.says(f"EHLO {name}").expect(250)

    def starts_data(
        self, sender: str = "a@source.example", *recipients: str, parameters: str = ""
    ) -> "Client":
        """Everything up to the 354."""
        self.says(f"MAIL FROM:<{sender}>{parameters}").expect(250)
        for recipient in recipients or ("b@sink.example",):
            self.says(f"RCPT TO:<{recipient}>").expect(250)
        self.says("DATA").expect(354)
        return self

    def delivers(
        self,
        content: bytes,
        sender: str = "a@source.example",
        *recipients: str,
        parameters: str = "",
    ) -> Reply:
        """A whole transaction; returns the reply to its end."""
        return (
            self.starts_data(sender, *recipients, parameters=parameters)
            .sends_message(content)
            .expect(250)
        )

    # ---- hearing ----

    def reply(self) -> Reply:
        """The next whole reply."""
        lines = []
        while True:
            line = self._line()
            if len(line) < 3 or not line[:3].isdigit() or line[3:4] not in ("", " ", "-"):
                self._fail(f"this is no reply line: {line!r}")
            lines.append(line[4:])
            if line[3:4] != "-":
                return Reply(int(line[:3]), lines)

    def expect(self, code: int, enhanced: str | None = None, text: str | None = None) -> Reply:
        reply = self.reply()
        if reply.code != code:
            self._fail(f"expected {code}, got {reply.code}")
        if enhanced is not None and reply.enhanced != enhanced:
            self._fail(f"expected the status {enhanced}, got {reply.enhanced or 'none'}")
        if text is not None and text not in reply.text:
            self._fail(f"expected {text!r} in the reply")
        return reply

    def expect_closed(self) -> None:
        """The server has nothing more to say and closes. A reset is no close: it may eat what was
        said before."""
        try:
            rest = self._buffer or self._socket.recv(4096)
        except ConnectionResetError:
            self._fail("the connection was reset")
        except TimeoutError:
            self._fail("the connection stays open")
        if rest:
            self._fail(f"expected the end of the session, got {rest[:200]!r}")
        self.transcript.append("S: (closed)")

    def expect_silence(self) -> None:
        """Nothing has been said that was not read, and the connection is open."""
        if self._buffer:
            self._fail(f"expected silence, got {self._buffer[:200]!r}")
        self._socket.setblocking(False)
        try:
            octets = self._socket.recv(4096)
            self._fail(
                f"expected silence, got {octets[:200]!r}" if octets else "the connection was closed"
            )
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            self._socket.settimeout(20)

    def reads_to_the_end(self) -> bytes:
        """All that the server still says until it closes."""
        parts = [self._buffer]
        self._buffer = b""
        try:
            while part := self._socket.recv(65536):
                parts.append(part)
        except (ConnectionResetError, BrokenPipeError):
            pass
        except TimeoutError:
            self._fail("the connection stays open")
        self.transcript.append(f"S: {b''.join(parts)!r} (closed)")
        return b"".join(parts)

    def _line(self) -> str:
        while b"\n" not in self._buffer:
            try:
                octets = self._socket.recv(65536)
            except TimeoutError:
                self._fail("no answer")
            except ConnectionResetError:
                self._fail("the connection was reset")
            if not octets:
                self._fail(f"the server closed the connection, after {self._buffer!r}")
            self._buffer += octets
        line, _, self._buffer = self._buffer.partition(b"\n")
        self.transcript.append(f"S: {line + bytes([10])!r}")
        if not line.endswith(b"\r"):
            self._fail("a reply line that does not end in CRLF")
        text = line[:-1]
        if any(octet < 32 and octet != 9 or octet == 127 for octet in text):
            self._fail("a control character in a reply")
        if len(text) > 510:
            self._fail("a reply line over 512 octets")
        return text.decode("utf-8")

    def _fail(self, why: str) -> None:
        raise ConversationError("\n".join([why, "transcript:", *self.transcript[-40:]]))
