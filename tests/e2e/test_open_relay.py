"""Never an open relay: every kind of client tries every trick there is with an address, in sessions
and in explain, and what is answered is what a model says that shares nothing with the program."""

import ipaddress
import itertools
import re
import ssl

import pytest

from lib import Client, Postern
from test_policy import certificate

# ---- the rules, and who asks ----

RELAY_DOMAINS = ["example.com", "*.wild.example", "b\u00fccher.example", "Case.Example."]
PERMITTED = "127.0.0.77"
STRANGER = "127.0.0.9"

SETTINGS = {
    # Everybody here is on the permit list, which lets connect and never relay.
    "connections": {
        "control": {"mode": "deny_all_except", "permit_list": ["127.0.0.0/8", "::1"]},
    },
    "message_rules": {
        "relay_domains": RELAY_DOMAINS,
        "permitted_relay": {"hosts": "specified", "networks": [PERMITTED, "203.0.113.0/24"]},
    },
}

# name: source, name in HELO, sender, encrypted, permitted to relay
CLIENTS = {
    "stranger": (STRANGER, "client.example", "a@source.example", False, False),
    "null sender": (STRANGER, "client.example", "", False, False),
    "says it is us": (STRANGER, "gw.example", "postmaster@gw.example", False, False),
    "sender of ours": (STRANGER, "[127.0.0.1]", "boss@example.com", False, False),
    "sender with a route": (STRANGER, "x", "@example.com:a%b@example.com", False, False),
    "loopback": ("127.0.0.1", "localhost", "root@localhost", False, False),
    "IPv6 loopback": ("::1", "[IPv6:::1]", "a@source.example", False, False),
    "encrypted": (STRANGER, "client.example", "a@source.example", True, False),
    "next to the permitted": ("127.0.0.78", "client.example", "a@source.example", False, False),
    "permitted": (PERMITTED, "client.example", "a@source.example", False, True),
    "permitted, encrypted": (PERMITTED, "client.example", "", True, True),
}

# ---- the tricks ----

FOREIGN = "evil.test"
LOCALS = [
    "user",
    "USER",
    "u.s.e.r",
    '"user"',
    '"us er"',
    '""',
    "a..b",
    ".a",
    "a.",
    "",
    "postmaster",
    f"user%{FOREIGN}",
    f"user%{FOREIGN}%example.com",
    "user%evil",
    "user%[192.0.2.1]",
    "100%",
    "a%b%",
    f"%{FOREIGN}",
    f"{FOREIGN}!user",
    f"a!{FOREIGN}!user",
    "evil!user",
    "wow!",
    "!user",
    f'"user@{FOREIGN}"',
    f'"user\\@{FOREIGN}"',
    f'"\\"user\\"@{FOREIGN}"',
    f'"user%{FOREIGN}"',
    f'"user\\%{FOREIGN}"',
    f'"{FOREIGN}!user"',
    f'"us"er@{FOREIGN}',
    f"user@{FOREIGN}",
    f"user\\@{FOREIGN}",
    f"<user@{FOREIGN}>",
    f"@{FOREIGN}:user",
    f"user%{FOREIGN}@case.example",
    f"user({FOREIGN})",
    f"user,other@{FOREIGN}",
    f"user;@{FOREIGN}",
    "us er",
    "u\u00fcser",
    f"u\u00fcser%{FOREIGN}",
    "x" * 64,
    "x" * 65,
    f"{'x' * 40}%{FOREIGN}{'y' * 30}",
    "#user",
    "|/bin/sh",
    "--flag",
    "=?utf-8?q?user?=",
]
DOMAINS = [
    "example.com",
    "EXAMPLE.Com",
    "example.com.",
    "example.com..",
    ".example.com",
    "x.example.com",
    "example.com.evil.test",
    "notexample.com",
    "wild.example",
    "a.wild.example",
    "a.b.WILD.example",
    ".wild.example",
    "*.wild.example",
    "awild.example",
    "case.example",
    "b\u00fccher.example",
    "B\u00dcCHER.example",
    "xn--bcher-kva.example",
    "XN--BCHER-KVA.Example",
    "x.b\u00fccher.example",
    "bucher.example",
    FOREIGN,
    "gw.example",
    "localhost",
    "[127.0.0.1]",
    "[192.0.2.1]",
    "[IPv6:::1]",
    "[IPv6:127.0.0.1]",
    "[example.com]",
    "[tag:example.com]",
    "127.0.0.1",
    "2130706433",
    "example.com@evil.test",
    "evil.test@example.com",
    "example.com:evil.test",
    "example.com,evil.test",
    "example.com%evil.test",
    "exam ple.com",
    "-example.com",
    "example-.com",
    "example._com",
    f"{'l' * 64}.example.com",
    "",
]

# What stands around and within a path: each takes a mailbox and gives what follows "RCPT ".
WRAPS = {
    "source route": f"TO:<@{FOREIGN}:%s>",
    "source route of two": f"TO:<@example.com,@{FOREIGN}:%s>",
    "source route through a literal": "TO:<@[192.0.2.1]:%s>",
    "source route without an end": f"TO:<@{FOREIGN}%s>",
    "lower case": "to:<%s>",
    "space behind the colon": "TO: <%s>",
    "tab behind the colon": "TO:\t<%s>",
    "space before the colon": "TO :<%s>",
    "space within": "TO:< %s >",
    "two spaces": " TO:<%s>",
    "no brackets": "TO:%s",
    "half a bracket": "TO:<%s",
    "brackets twice": "TO:<<%s>>",
    "something behind": f"TO:<%s>{FOREIGN}",
    "a second path": f"TO:<%s> <user@{FOREIGN}>",
    "a parameter": f"TO:<%s> ORCPT=rfc822;user@{FOREIGN}",
    "an unknown parameter": f"TO:<%s> TO=user@{FOREIGN}",
    "a name": "TO:User <%s>",
    "a comment": f"TO:(user@{FOREIGN})<%s>",
}
WRAPPED = [
    "user@example.com",
    f"user@{FOREIGN}",
    f"user%{FOREIGN}@example.com",
    f"{FOREIGN}!user@a.wild.example",
    f'"user@{FOREIGN}"@example.com',
    "postmaster",
]
OCTETS = [b"\0", b"\1", b"\b", b"\t", b"\n", b"\r", b"\x1b", b"\x7f", b"\x80", b"\xc0\xae", b"\xff"]
BROKEN = [
    b"user%s@example.com",
    b"user@example%s.com",
    b"user@example.com%s",
    b"user@example.com%s.evil.test",
    b"user@evil.test%s@example.com",
    b"%suser@example.com",
    b'"user%s@evil.test"@example.com',
]

# ---- the model ----

LABEL = r"(?!-)[A-Za-z0-9_\x80-\U0010ffff-]{1,63}(?<!-)"
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})*\Z")
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
DOT_STRING = re.compile(rf"{ATOM}(?:\.{ATOM})*")
QUOTED = re.compile(r'"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*"')
HOST = re.compile(r"[A-Za-z0-9._\[\]:\x80-\U0010ffff-]+\Z")


def is_domain(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        tag, colon, rest = text[1:-1].partition(":")
        try:
            if not colon:
                return bool(ipaddress.IPv4Address(tag))
            if tag.lower() == "ipv6":
                return bool(ipaddress.IPv6Address(rest)) or True
        except ValueError:
            return False
        return bool(
            re.fullmatch("[A-Za-z0-9-]*[A-Za-z0-9]", tag) and re.fullmatch(r"[!-Z^-~]+", rest)
        )
    return len(text.encode()) <= 255 and bool(DOMAIN.match(text))


def split(mailbox: str) -> tuple[str, str] | None:
    """Local part and domain; None: it is no mailbox. "postmaster" stands alone."""
    if mailbox.lower() == "postmaster":
        return mailbox, ""
    found = QUOTED.match(mailbox) or DOT_STRING.match(mailbox)
    if not found or not mailbox[found.end() :].startswith("@"):
        return None
    local, domain = found.group(), mailbox[found.end() + 1 :]
    if len(local.encode()) > 64 or len(mailbox.encode()) > 254 or not is_domain(domain):
        return None
    return local, domain


def is_ours(domain: str) -> bool:
    """Is the domain one of RELAY_DOMAINS?"""
    name = domain.encode("idna").decode().lower() if not domain.startswith("[") else domain
    return (
        name in ("example.com", "case.example", "xn--bcher-kva.example")
        or name.endswith(".wild.example")
    )


def routes_on(local: str) -> bool:
    """Could a host behind us read it as an address elsewhere? Quotes and backslashes may be gone
    by then."""
    plain = re.sub(r'\\(.)|"', lambda m: m.group(1) or "", local)
    percents = [i for i, c in enumerate(plain) if c == "%"]
    bangs = [i for i, c in enumerate(plain) if c == "!"]
    return (
        "@" in plain
        or any(HOST.match(plain[i + 1 :]) for i in percents)
        or any(HOST.match(plain[:i]) and plain[i + 1 :] for i in bangs)
    )


def verdict(mailbox: str, permitted: bool) -> int:
    """250, 550, or 501 for what is no address."""
    parts = split(mailbox)
    if parts is None:
        return 501
    local, domain = parts
    if permitted or not domain:
        return 250
    return 250 if is_ours(domain) and not routes_on(local) else 550


def path_verdict(path: str, permitted: bool) -> int:
    """The same for what stands between "<" and ">": a source route in front of the mailbox, if it is
    one, counts for nothing."""
    route, colon, rest = path.partition(":")
    if path.startswith("@"):
        hops = route.split(",")
        if not colon or not all(h.startswith("@") and is_domain(h[1:]) for h in hops):
            return 501
        path = rest
    return verdict(path, permitted)


# ---- sessions ----


class Asker:
    """Asks for many recipients, a few in each session: a server that is asked nonsense hangs up."""

    AT_ONCE = 15

    def __init__(self, gateway: Postern, client: str):
        self.gateway = gateway
        self.source, self.helo, self.sender, self.tls, self.permitted = CLIENTS[client]

    def _begin(self, utf8: bool) -> Client:
        host = "::1" if ":" in self.source else "127.0.0.1"
        client = Client(host, self.gateway.port, source=self.source)
        client.hello(self.helo)
        if self.tls:
            client.says("STARTTLS").expect(220)
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client._socket = context.wrap_socket(client._socket)
            client.hello(self.helo)
        client.says(f"MAIL FROM:<{self.sender}>{' SMTPUTF8' if utf8 else ''}").expect(250)
        return client

    def codes(self, lines: list[bytes], utf8: bool = False) -> list[int]:
        """The reply to each line behind "RCPT "."""
        codes = []
        for at in range(0, len(lines), self.AT_ONCE):
            part = lines[at : at + self.AT_ONCE]
            with self._begin(utf8) as client:
                client.sends(b"".join(b"RCPT " + line + b"\r\n" for line in part) + b"NOOP\r\n")
                codes += [client.reply().code for _ in part]
                client.expect(250)
                client.says("QUIT").expect(221)
        return codes


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Postern(settings=SETTINGS) as one:
        status, uploaded = one.api(
            "POST", "/api/v1/tls/certificates", certificate(tmp_path_factory.mktemp("tls"))
        )
        assert status in (200, 201), uploaded
        tls = {"incoming": True, "certificate": uploaded["id"]}
        assert one.api("PATCH", "/api/v1/settings", {"connections": {"tls": tls}})[0] == 200
        yield one


def mailboxes() -> list[str]:
    return [f"{local}@{domain}" for local, domain in itertools.product(LOCALS, DOMAINS)] + LOCALS


def kind(code: int) -> int:
    return 501 if code in (500, 501, 553, 555) else code


@pytest.mark.parametrize("client", CLIENTS)
def test_every_mailbox_is_answered_as_the_model_says(gateway, client):
    asker = Asker(gateway, client)
    wrong, seen = [], set()
    for utf8 in (False, True):
        # A handshake for every few is slow: each encrypted client takes a part.
        asked = [m for m in mailboxes() if utf8 != m.isascii()][:: 7 if asker.tls else 1]
        for mailbox, code in zip(asked, asker.codes([f"TO:<{m}>".encode() for m in asked], utf8)):
            want = path_verdict(mailbox, asker.permitted)
            seen.add(want)
            if kind(code) != want:
                wrong.append((mailbox, code, want))
    assert not wrong, wrong[:20]
    assert seen == ({250, 501} if asker.permitted else {250, 501, 550})


@pytest.mark.parametrize("client", CLIENTS)
def test_what_stands_around_a_path_opens_nothing(gateway, client):
    """A wrap is either no command at all, or changes nothing."""
    asker = Asker(gateway, client)
    tries = [(name, wrap % m, m) for name, wrap in WRAPS.items() for m in WRAPPED]
    codes = asker.codes([line.encode() for _, line, _ in tries])
    for (name, line, mailbox), code in zip(tries, codes):
        want = verdict(mailbox, asker.permitted)
        assert kind(code) == 501 or (code == want and 250 <= code < 560), (name, line, code, want)
    taken = {name for (name, _, _), code in zip(tries, codes) if code == 250}
    assert {"source route", "source route of two", "lower case", "a parameter"} <= taken
    assert not taken & {"no brackets", "half a bracket", "something behind", "a second path"}


@pytest.mark.parametrize("client", CLIENTS)
def test_octets_that_no_address_has_are_refused(gateway, client):
    asker = Asker(gateway, client)
    for utf8 in (False, True):
        for octet in OCTETS:
            if octet in (b"\n", b"\r"):
                continue
            lines = [b"TO:<" + form % octet + b">" for form in BROKEN[:: 3 if asker.tls else 1]]
            codes = asker.codes(lines, utf8)
            assert all(kind(code) == 501 for code in codes), (octet, list(zip(lines, codes)))
    # A bare line end makes of one command half of one, and the rest is no command either.
    for octet in (b"\n", b"\r"):
        for form in BROKEN[:: 3 if asker.tls else 1]:
            with asker._begin(False) as session:
                session.sends(b"RCPT TO:<" + form % octet + b">\r\nNOOP\r\n")
                assert session.reply().code == 500, form
                assert 250 <= session.reply().code < 600
    assert gateway.queue() == []


def test_explain_says_the_same(gateway):
    """Of every client's address, and of ones that cannot be here."""
    draft = {"message_rules": SETTINGS["message_rules"]}  # under which all may connect
    sources = sorted({source for source, *_ in CLIENTS.values()} | {"203.0.113.9", "192.0.2.9"})
    every = [m for m in mailboxes() if m and m == m.strip("<>")]
    for number, source in enumerate(sources):
        permitted = source in (PERMITTED, "203.0.113.9")
        for mailbox in every[number % 3 :: 3]:
            status, told = gateway.api(
                "POST", "/api/v1/explain", {"address": source, "to": mailbox, "draft": draft}
            )
            want = verdict(mailbox, permitted)
            assert status == (422 if want == 501 else 200), (source, mailbox, told)
            if want != 501:
                assert told["reply"]["code"] == want, (source, mailbox, told)


def test_who_may_not_connect_is_told_nothing_else(gateway):
    told = gateway.json("explain", "192.0.2.9", "--to", "user@example.com")
    assert told["reply"]["code"] == 554 and told["rule"] == "connection control"
