"""sink: a next hop that takes everything and keeps every octet (aiosmtpd)."""

import asyncio
import socket
import threading
from dataclasses import dataclass, field

from aiosmtpd.smtp import SMTP

from .places import free_port


@dataclass(frozen=True)
class Message:
    reverse_path: str
    recipients: list[str]
    mail_parameters: list[str]
    rcpt_parameters: list[list[str]]
    content: bytes = field(repr=False)


class Arrivals:
    """Messages in the order in which they came, and waiting for them."""

    def __init__(self):
        self._condition = threading.Condition()
        self._messages: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        with self._condition:
            return list(self._messages)

    def add(self, message: Message) -> None:
        with self._condition:
            self._messages.append(message)
            self._condition.notify_all()

    def wait_for(self, count: int, seconds: float = 30.0) -> list[Message]:
        """Returns when so many messages have arrived."""
        with self._condition:
            if not self._condition.wait_for(lambda: len(self._messages) >= count, seconds):
                raise AssertionError(
                    f"{len(self._messages)} of {count} messages arrived within {seconds:.0f} s"
                )
            return list(self._messages)

    def clear(self) -> None:
        with self._condition:
            self._messages.clear()


class _Server(SMTP):
    # aiosmtpd holds a line in memory; the longest in the tests is a megabyte.
    line_length_limit = 1 << 26


class _Handler:
    def __init__(self, arrivals: Arrivals):
        self._arrivals = arrivals

    async def handle_RCPT(self, server, session, envelope, address, options):
        if not hasattr(envelope, "parameters"):
            envelope.parameters = []
        envelope.parameters.append(list(options))
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        self._arrivals.add(
            Message(
                envelope.mail_from or "",
                list(envelope.rcpt_tos),
                list(envelope.mail_options),
                envelope.parameters,
                bytes(envelope.original_content),
            )
        )
        return "250 2.0.0 kept"


class Sink:
    def __init__(self, port: int | None = None):
        self.port = port or free_port()
        self._arrivals = Arrivals()
        self.wait_for, self.clear = self._arrivals.wait_for, self._arrivals.clear
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)

    @property
    def messages(self) -> list[Message]:
        return self._arrivals.messages

    def __enter__(self) -> "Sink":
        self._thread.start()
        assert self._started.wait(10), "the sink did not start"
        socket.create_connection(("127.0.0.1", self.port), 10).close()
        return self

    def __exit__(self, *exc) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        handler = _Handler(self._arrivals)

        def session() -> SMTP:
            return _Server(
                handler,
                hostname="sink.example",
                enable_SMTPUTF8=True,
                data_size_limit=None,
                loop=self._loop,
                timeout=600,
            )

        server = self._loop.run_until_complete(
            self._loop.create_server(
                session, "127.0.0.1", self.port, reuse_address=True, backlog=512
            )
        )
        self._loop.call_soon(self._started.set)
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()
