"""A program that talks to the console over HTTP(S): a browser as far as cookies go."""

import contextlib
import http.client
import json
import re
import socket
import ssl
import urllib.parse


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
