"""A program that talks to the console over HTTP(S): a browser as far as cookies go."""

import contextlib
import http.client
import json
import re
import socket
import ssl
import urllib.parse


def console_url(gateway) -> str:
    """Where the console of a running gateway is."""
    return gateway.ready_line().rsplit("console=", 1)[1]


class Answer:
    def __init__(self, response: http.client.HTTPResponse):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Browser:
    """Keeps its cookie and, once logged in, sends the token against forged requests."""

    def __init__(self, url: str, source: str | None = None):
        self.url = urllib.parse.urlsplit(url)
        self.source = source
        self.cookie: str | None = None
        self.csrf: str | None = None
        self.bearer: str | None = None

    def ask(self, method: str, target: str, body=None, **headers) -> Answer:
        """Header names are given with _ for -; a value of None leaves that header out."""
        send = {}
        if self.cookie:
            send["Cookie"] = f"postern_session={self.cookie}"
        if self.csrf:
            send["X-Csrf-Token"] = self.csrf
        if self.bearer:
            send["Authorization"] = f"Bearer {self.bearer}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            send["Content-Type"] = "application/json"
        send |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        source = (self.source, 0) if self.source else None
        connection = (
            http.client.HTTPSConnection(
                self.url.hostname,
                self.url.port,
                timeout=60,
                source_address=source,
                context=ssl._create_unverified_context(),
            )
            if self.url.scheme == "https"
            else http.client.HTTPConnection(
                self.url.hostname, self.url.port, timeout=60, source_address=source
            )
        )
        with contextlib.closing(connection):
            connection.request(
                method, target, body, {k: v for k, v in send.items() if v is not None}
            )
            answer = Answer(connection.getresponse())
        given = re.match(r"postern_session=([^;]*)", answer.headers.get("Set-Cookie", ""))
        if given:
            self.cookie = given[1] or None
        return answer

    def get(self, target: str, **headers) -> Answer:
        return self.ask("GET", target, **headers)

    def log_in(self, name: str, password: str, status: int = 200) -> Answer:
        answer = self.ask("POST", "/api/v1/login", {"name": name, "password": password})
        assert answer.status == status, answer.text
        self.csrf = answer.json.get("csrf")
        return answer

    def raw(self, octets: bytes) -> bytes:
        """What comes back for these very octets, on plain HTTP."""
        with socket.create_connection((self.url.hostname, self.url.port), 60) as connection:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            got = b""
            while piece := connection.recv(65536):
                got += piece
        return got


class Events:
    """The stream of events, from the console for a Browser, or from the socket of a gateway."""

    def __init__(self, source, query: str = "", last: str | None = None, timeout: float = 60):
        if isinstance(source, Browser):
            self.socket = socket.create_connection((source.url.hostname, source.url.port), timeout)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(str(source.state / "api.sock"))
        lines = [f"GET /api/v1/events{query} HTTP/1.1", "Host: localhost"]
        if isinstance(source, Browser) and source.bearer:
            lines.append(f"Authorization: Bearer {source.bearer}")
        elif isinstance(source, Browser):
            lines.append(f"Cookie: postern_session={source.cookie}")
        if last:
            lines.append(f"Last-Event-ID: {last}")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)
        self.last = last

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def next(self):
        """(type, data); None at the end of the stream. Comments are passed over."""
        kind, data = None, None
        while line := self.file.readline():
            word, _, value = line.decode().rstrip("\n").partition(": ")
            if word == "event":
                kind = value
            elif word == "id":
                self.last = value
            elif word == "data":
                data = json.loads(value)
            elif not word and kind:
                return kind, data
        return None

    def until(self, kind: str, wanted=lambda data: True):
        """The data of the next event of that kind that is wanted."""
        while event := self.next():
            if event[0] == kind and wanted(event[1]):
                return event[1]
        raise AssertionError(f"the stream ended without {kind}")
