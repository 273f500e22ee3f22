"""The console: accounts, the first log-in, roles, tokens, and what strangers try."""

import contextlib
import gzip
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from lib import (
    BINARY,
    Browser,
    Events,
    Postern,
    free_port,
    make_message,
    run_postern,
    temporary_folder,
)
from lib import console_url, pki

pytestmark = pytest.mark.asan

PASSWORD = "correct horse battery"


# ---- accounts on the command line ----


def test_accounts_need_no_gateway():
    with temporary_folder() as folder:
        state = folder / "state"
        run_postern("admin", "add", "ann", state=state, stdin=PASSWORD + "\n")
        run_postern("admin", "add", "bob", "--role", "viewer", state=state, stdin=PASSWORD)
        items = json.loads(run_postern("admin", "list", "--json", state=state).stdout)["items"]
        assert [(i["name"], i["role"]) for i in items] == [
            ("ann", "administrator"),
            ("bob", "viewer"),
        ]
        stored = (state / "console" / "accounts.json").read_text()
        assert PASSWORD not in stored and stored.count("$argon2id$v=19$m=19456,t=2,p=1$") == 2
        assert stat.S_IMODE(os.stat(state / "console" / "accounts.json").st_mode) == 0o600
        run_postern("admin", "passwd", "bob", state=state, stdin="another password\n")
        assert (state / "console" / "accounts.json").read_text() != stored
        run_postern("admin", "remove", "bob", state=state)
        rows = json.loads(run_postern("audit", "--json", state=state).stdout)["items"]
        assert [(r["action"], r["target"]) for r in rows] == [
            ("admins.remove", "bob"),
            ("admins.password", "bob"),
            ("admins.add", "bob"),
            ("admins.add", "ann"),
        ]


@pytest.mark.parametrize(
    "words, stdin, why",
    [
        (("add", "ann"), PASSWORD, "already"),
        (("add", "an n"), PASSWORD, "name of an account"),
        (("add", "-x"), PASSWORD, ""),
        (("add", "bob"), "short\n", "at least 8"),
        (("add", "bob"), "", "no password"),
        (("add", "bob", "--role", "root"), PASSWORD, "--role is"),
        (("passwd", "bob"), PASSWORD, "no account bob"),
        (("remove", "bob"), None, "no account bob"),
        (("remove", "ann"), None, "last administrator"),
    ],
)
def test_what_an_account_cannot_be(words, stdin, why):
    with temporary_folder() as folder:
        run_postern("admin", "add", "ann", state=folder, stdin=PASSWORD)
        before = (folder / "console" / "accounts.json").read_bytes()
        run = run_postern("admin", *words, state=folder, stdin=stdin, status=None)
        assert run.returncode in (1, 2) and why in run.stderr
        assert len(run.stderr.strip().splitlines()) == 1
        assert (folder / "console" / "accounts.json").read_bytes() == before


def test_the_last_administrator_goes_with_a_word():
    with temporary_folder() as folder:
        run_postern("admin", "add", "ann", state=folder, stdin=PASSWORD)
        out = run_postern("admin", "remove", "ann", "--yes", state=folder).stdout
        assert "no administrator now" in out
        assert "no account" in run_postern("admin", "list", state=folder).stdout


def test_accounts_are_changed_while_it_runs():
    with Postern(free_port()) as gateway:
        gateway.cli("admin", "add", "ann", stdin=PASSWORD)
        assert gateway.json("admin", "list")["total"] == 1
        status, rows = gateway.api("GET", "/api/v1/audit?action=admins")
        assert status == 200 and rows["items"][0]["target"] == "ann"


# ---- the first log-in ----


def setup_lines(gateway) -> list[str]:
    return [line[len("setup ") :] for line in gateway.lines if line.startswith("setup ")]


def setup_token(link: str) -> str:
    return parse_qs(urlsplit(link).query)["token"][0]


def set_up(gateway, **fields):
    """As the page behind the link does; the browser and the answer."""
    browser = Browser(console_url(gateway))
    link = setup_lines(gateway)[-1]
    assert browser.get(urlsplit(link).path + "?" + urlsplit(link).query).status == 200
    filled = {"token": setup_token(link), "name": "ann", "password": PASSWORD}
    return browser, browser.ask("POST", "/api/v1/setup", filled | fields)


def setup_state(browser, link: str) -> dict:
    answer = browser.get(f"/api/v1/setup?token={setup_token(link)}")
    assert answer.status == 200
    return answer.json


def test_the_link_of_the_first_start_makes_one_administrator():
    with Postern(free_port()) as gateway:
        assert [line.split()[0] for line in gateway.lines] == ["setup", "ready"]
        link = setup_lines(gateway)[0]
        assert link.startswith(console_url(gateway) + "setup?token=")
        wrong = Browser(console_url(gateway))
        nobody = {"logged_in": False}
        assert setup_state(wrong, link + "A") == {"needed": True, "valid": False} | nobody
        assert setup_state(wrong, link) == {"needed": True, "valid": True} | nobody
        assert set_up(gateway, token="")[1].status == 403
        for bad in ({"password": "short"}, {"name": "<script>alert(1)</script>"}, {"name": 1}):
            refused = set_up(gateway, **bad)[1]
            assert refused.status == 422
            assert refused.json["errors"][0]["pointer"] == f"/{next(iter(bad))}"
        assert gateway.json("admin", "list")["items"] == []

        browser, done = set_up(gateway)
        assert done.status == 201 and browser.cookie and done.json["csrf"]
        assert browser.get("/api/v1/me").json["role"] == "administrator"
        assert [i["role"] for i in gateway.json("admin", "list")["items"]] == ["administrator"]
        assert setup_state(wrong, link) == {"needed": False, "valid": False} | nobody
        assert setup_state(browser, link)["logged_in"] is True
        assert set_up(gateway, name="eve")[1].status == 403
        assert gateway.json("admin", "list")["total"] == 1
        gateway.restart()
        assert setup_lines(gateway) == []


def test_each_start_has_another_link_until_there_is_an_account():
    with Postern(free_port()) as gateway:
        first = setup_lines(gateway)[0]
        gateway.restart()
        second = setup_lines(gateway)[0]
        browser = Browser(console_url(gateway))
        assert first != second
        assert setup_state(browser, first)["valid"] is False
        assert setup_state(browser, second)["valid"] is True
        gateway.cli("admin", "add", "ann", stdin=PASSWORD)
        assert setup_state(browser, second)["needed"] is False
        assert setup_state(browser, second)["valid"] is False


def test_damaged_accounts_open_no_door():
    with Postern(free_port()) as gateway:
        gateway.cli("admin", "add", "ann", stdin=PASSWORD)
        (gateway.state / "console" / "accounts.json").write_text("{")
        gateway.restart()
        assert setup_lines(gateway) == []
        browser = Browser(console_url(gateway))
        browser.log_in("ann", PASSWORD, 503)
        assert "damaged" in gateway.log()


# ---- sessions ----


@pytest.fixture(scope="module")
def gateway():
    with Postern(free_port()) as gateway:
        for name, role in (("ann", "administrator"), ("oli", "operator"), ("vic", "viewer")):
            gateway.cli("admin", "add", name, "--role", role, stdin=PASSWORD)
        yield gateway


@pytest.fixture
def browser(gateway):
    return Browser(console_url(gateway))


@pytest.fixture
def ann(browser):
    browser.log_in("ann", PASSWORD)
    return browser


def test_a_log_in_gives_a_cookie_and_a_token(gateway, browser):
    answer = browser.log_in("ann", PASSWORD)
    cookie = answer.headers["Set-Cookie"]
    assert re.fullmatch(
        r"postern_session=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict", cookie
    ), cookie
    assert set(answer.json) == {"csrf"} and browser.cookie not in answer.text
    me = browser.get("/api/v1/me").json
    assert (me["name"], me["role"], me["by"], me["csrf"]) == (
        "ann",
        "administrator",
        "session",
        browser.csrf,
    )
    assert browser.get("/api/v1/status").json["health"] in ("green", "yellow", "red")
    browser.csrf, csrf = None, browser.csrf
    refused = browser.ask("POST", "/api/v1/connections/test", {"address": "192.0.2.1"})
    assert refused.status == 403 and "X-CSRF-Token" in refused.text
    browser.csrf = csrf[:-1] + ("A" if csrf[-1] != "A" else "B")
    assert browser.ask("PUT", "/api/v1/settings", {}).status == 403
    browser.csrf = csrf
    allowed = browser.ask("POST", "/api/v1/connections/test", {"address": "192.0.2.1"})
    assert allowed.status == 200 and allowed.json["decision"] == "accept"
    assert browser.ask("POST", "/api/v1/logout").status == 204
    assert browser.cookie is None
    rows = ann_rows(gateway, "console.login")
    assert rows[0]["outcome"] == "done" and rows[0]["origin"] == "console, client 127.0.0.1"


def ann_rows(gateway, action: str) -> list[dict]:
    return gateway.api("GET", f"/api/v1/audit?actor=ann&action={action}")[1]["items"]


@pytest.mark.parametrize(
    "name, password",
    [("ann", "wrong"), ("nobody", PASSWORD), ("", ""), ("ann", ""), ("ann\x00", PASSWORD)],
)
def test_a_wrong_log_in_says_neither_what_nor_why(gateway, name, password):
    browser = Browser(console_url(gateway), "127.0.0.9")
    answer = browser.log_in(name, password, 401 if "\0" not in name else 400)
    assert browser.cookie is None
    if "\0" not in name:
        assert answer.json["detail"] == "Name or password is wrong."
    Browser(console_url(gateway), "127.0.0.9").log_in("ann", PASSWORD)


def test_a_session_is_over_after_the_log_out(ann):
    cookie = ann.cookie
    ann.ask("POST", "/api/v1/logout")
    ann.cookie = cookie
    assert ann.get("/api/v1/me").status == 401


def test_log_out_everywhere(gateway, ann):
    other = Browser(console_url(gateway))
    other.log_in("ann", PASSWORD)
    assert ann.ask("POST", "/api/v1/logout?everywhere=true").status == 204
    assert other.get("/api/v1/me").status == 401


def test_no_identifier_of_before_is_worth_anything(gateway, browser):
    """Session fixation: what the request came with is never what it leaves with."""
    browser.cookie = planted = "A" * 43
    browser.log_in("ann", PASSWORD)
    first = browser.cookie
    assert first != planted
    browser.log_in("ann", PASSWORD)
    assert browser.cookie not in (first, planted)
    for old in (first, planted):
        stale = Browser(console_url(gateway))
        stale.cookie = old
        assert stale.get("/api/v1/me").status == 401


def test_a_second_cookie_of_the_name_makes_none(ann):
    both = f"postern_session={ann.cookie}; postern_session={'A' * 43}"
    assert ann.get("/api/v1/me", cookie=both).status == 401
    assert ann.get("/api/v1/me", cookie=f"a=b; postern_session={ann.cookie}").status == 200


@pytest.mark.parametrize("change", ["password", "role", "removal", "own password"])
def test_a_session_ends_when_its_account_changes(gateway, ann, change):
    name = f"x-{change.replace(' ', '-')}"
    made = ann.ask(
        "POST", "/api/v1/admins", {"name": name, "role": "administrator", "password": PASSWORD}
    )
    assert made.status == 201 and made.json["name"] == name and PASSWORD not in made.text
    victim, second = Browser(console_url(gateway)), Browser(console_url(gateway))
    victim.log_in(name, PASSWORD)
    second.log_in(name, PASSWORD)
    if change == "password":
        gateway.cli("admin", "passwd", name, stdin="another password")
    elif change == "role":
        assert ann.ask("PATCH", f"/api/v1/admins/{name}", {"role": "viewer"}).status == 200
    elif change == "removal":
        assert ann.ask("DELETE", f"/api/v1/admins/{name}").status == 204
    else:
        body = {"password": "not it", "new_password": "another password"}
        assert second.ask("PUT", "/api/v1/me/password", body).status == 422
        body["password"] = PASSWORD
        assert second.ask("PUT", "/api/v1/me/password", body).status == 200
        assert second.get("/api/v1/me").status == 200
    assert victim.get("/api/v1/me").status == 401
    if change != "removal":
        gateway.cli("admin", "remove", name)


def test_the_page_comes_compressed_and_once(gateway, browser):
    page = browser.get("/")
    assert page.status == 200 and page.headers["Cache-Control"] == "no-cache"
    assert "style=" not in page.text and "<style" not in page.text and "<script>" not in page.text
    assert browser.get("/", if_none_match=page.headers["ETag"]).status == 304
    assert browser.get("/", if_none_match=f'"x", W/{page.headers["ETag"]}').status == 304
    assets = re.findall(r'(?:href|src)="(/[^"]+)"', page.text)
    assert len(assets) >= 3
    first_load = 0
    for asset in ["/", *assets]:
        plain = browser.get(asset)
        assert plain.status == 200 and "Content-Encoding" not in plain.headers
        packed = browser.get(asset, accept_encoding="gzip, br")
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        first_load += len(packed.body)
        if asset != "/":
            assert packed.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert first_load <= 350 * 1024


# ---- throttling ----


def test_tries_are_slowed_for_one_address_and_nobody_is_locked_out(gateway):
    guesser = Browser(console_url(gateway), "127.0.0.66")
    answers = [
        guesser.ask("POST", "/api/v1/login", {"name": "ann", "password": f"guess {n}"})
        for n in range(12)
    ]
    statuses = [answer.status for answer in answers]
    assert statuses[:6] == [401] * 6 and 429 in statuses[6:]
    late = next(answer for answer in answers if answer.status == 429)
    assert 0 < int(late.headers["Retry-After"]) <= 12
    # Not even the right password is looked at, and from elsewhere it still is.
    assert (
        guesser.ask("POST", "/api/v1/login", {"name": "ann", "password": PASSWORD}).status == 429
    )
    Browser(console_url(gateway), "127.0.0.67").log_in("ann", PASSWORD)


# ---- tokens ----


def test_a_token_is_told_once_and_works_until_it_is_removed(gateway, ann):
    wish = {"name": "back up", "role": "operator", "expires": "2099-01-01T00:00:00Z"}
    made = ann.ask("POST", "/api/v1/tokens", wish)
    assert made.status == 201
    secret, ident = made.json["token"], made.json["id"]
    listed = ann.get("/api/v1/tokens")
    assert secret not in listed.text
    assert [t["name"] for t in listed.json["items"] if t["id"] == ident] == ["back up"]
    assert secret not in (gateway.state / "console" / "accounts.json").read_text()
    program = Browser(console_url(gateway))
    program.bearer = secret
    me = program.get("/api/v1/me").json
    assert (me["name"], me["role"], me["by"]) == ("ann", "operator", "token") and "csrf" not in me
    # No cookie, so nothing to forge: no token against that is asked for.
    assert (
        program.ask("POST", "/api/v1/queue/retry", {"ids": ["00000000001"]}).status not in (401, 403)
    )
    assert program.ask("PUT", "/api/v1/settings", {}).status == 403
    assert program.get("/api/v1/admins").status == 403
    assert ann.ask("DELETE", f"/api/v1/tokens/{ident}").status == 204
    assert program.get("/api/v1/me").status == 401
    actions = [r["action"] for r in ann_rows(gateway, "tokens")]
    assert actions[:2] == ["tokens.remove", "tokens.add"]


def test_a_token_is_worth_no_more_than_who_made_it(gateway):
    oli = Browser(console_url(gateway))
    oli.log_in("oli", PASSWORD)
    refused = oli.ask("POST", "/api/v1/tokens", {"name": "t", "role": "administrator"})
    assert refused.status == 422 and refused.json["errors"][0]["pointer"] == "/role"
    for body, pointer in (
        ({"name": ""}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "t", "expires": "tomorrow"}, "/expires"),
        ({"name": "t", "expires": "2001-01-01T00:00:00Z"}, "/expires"),
        ({"name": "t", "nonsense": 1}, "/nonsense"),
    ):
        answer = oli.ask("POST", "/api/v1/tokens", body)
        assert answer.status == 422 and answer.json["errors"][0]["pointer"] == pointer
    made = oli.ask("POST", "/api/v1/tokens", {"name": "t"}).json
    vic = Browser(console_url(gateway))
    vic.log_in("vic", PASSWORD)
    assert vic.ask("DELETE", f"/api/v1/tokens/{made['id']}").status == 404
    assert made["id"] not in [t["id"] for t in vic.get("/api/v1/tokens").json["items"]]
    assert oli.ask("DELETE", f"/api/v1/tokens/{made['id']}").status == 204


# ---- accounts over the API ----


def test_the_last_administrator_stays(gateway, ann):
    assert ann.ask("DELETE", "/api/v1/admins/ann").status == 409
    assert ann.ask("PATCH", "/api/v1/admins/ann", {"role": "viewer"}).status == 409
    assert ann.ask("DELETE", "/api/v1/admins/nobody").status == 404
    names = [a["name"] for a in ann.get("/api/v1/admins").json["items"]]
    assert "ann" in names
    for body in (
        {"name": "a b", "role": "viewer", "password": PASSWORD},
        {"name": "zoe", "role": "god", "password": PASSWORD},
        {"name": "zoe", "role": "viewer", "password": "short"},
        {"name": "zoe", "role": "viewer", "password": PASSWORD, "admin": True},
    ):
        assert ann.ask("POST", "/api/v1/admins", body).status == 422
    taken = {"name": "vic", "role": "viewer", "password": PASSWORD}
    assert ann.ask("POST", "/api/v1/admins", taken).status == 409


# ---- who may what ----

OWN_PATHS = [
    ("POST", "/api/v1/logout"),
    ("GET", "/api/v1/me"),
    ("PUT", "/api/v1/me/password"),
    ("POST", "/api/v1/me/second-factor"),
    ("PUT", "/api/v1/me/second-factor"),
    ("DELETE", "/api/v1/me/second-factor"),
    ("GET", "/api/v1/tokens"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/t1"),
    ("GET", "/api/v1/admins"),
    ("POST", "/api/v1/admins"),
    ("PATCH", "/api/v1/admins/ann"),
    ("DELETE", "/api/v1/admins/ann"),
    ("GET", "/api/v1/none"),
    ("GET", "/api/v1/"),
    ("GET", "/api/v1"),
    ("OPTIONS", "/api/v1/settings"),
]


def described(gateway) -> list[tuple[str, str]]:
    """Every method and path of the OpenAPI document, with a value for each name in it."""
    paths = gateway.api("GET", "/api/v1/openapi.json")[1]["paths"]
    return [
        (method.upper(), re.sub(r"\{[^}]*\}", "00000000001", path))
        for path, item in paths.items()
        for method in item
        if method in ("get", "put", "post", "patch", "delete")
    ]


def status_of(browser, method: str, path: str, body) -> int:
    """The stream of events has no end: its head is enough."""
    if path != "/api/v1/events":
        return browser.ask(method, path, body).status
    with Events(browser) as events:
        return events.status


def test_without_log_in_every_path_is_401(gateway):
    everything = described(gateway) + OWN_PATHS
    assert len(everything) > 40
    stale, forged = Browser(console_url(gateway)), Browser(console_url(gateway))
    stale.cookie, stale.csrf, forged.bearer = "A" * 43, "A" * 43, "A" * 43
    for method, path in everything:
        for who in (Browser(console_url(gateway)), stale, forged):
            answer = who.ask(method, path, {} if method in ("PUT", "POST", "PATCH") else None)
            if path in ("/healthz", "/readyz"):
                assert answer.status == 200
                continue
            assert answer.status == 401, (method, path, answer.status)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_description_has_what_the_console_adds(gateway, ann):
    """What the console answers itself is described, and asks for a log-in where that is said."""
    document = ann.get("/api/v1/openapi.json").json
    names = {"{name}": "ann", "{id}": "t1"}
    own = {}
    for pattern, item in document["paths"].items():
        for method, operation in item.items():
            if operation.get("description", "").startswith("Of the console"):
                path = re.sub(r"\{[^}]*\}", lambda found: names[found[0]], pattern)
                own[method.upper(), path] = operation
    mine = ("/logout", "/me", "/tokens", "/admins")
    tried = {(m, p) for m, p in OWN_PATHS if p.startswith(tuple(f"/api/v1{part}" for part in mine))}
    assert len(tried) > 10 and tried <= set(own)
    stranger = Browser(console_url(gateway), "127.0.0.88")
    for (method, path), operation in own.items():
        body = {} if method in ("PUT", "POST", "PATCH") else None
        status = stranger.ask(method, path, body).status
        assert (status == 401) == (operation.get("security") != []), (method, path, status)
    assert set(document["components"]["securitySchemes"]) == {"session", "token"}
    assert "get" in document["paths"]["/api/v1/settings"]
    assert ann.get("/api/v1/openapi.json?x=1").status == 400


def test_roles_hold_for_every_path(gateway):
    computes = {"/api/v1/connections/test", "/api/v1/connections/preview", "/api/v1/explain"}
    for name in ("vic", "oli"):
        browser = Browser(console_url(gateway))
        browser.log_in(name, PASSWORD)
        for method, path in described(gateway):
            if path in ("/healthz", "/readyz"):
                continue
            queue = path.startswith("/api/v1/queue/") or path == "/api/v1/log/flush"
            may = method == "GET" or path in computes or (name == "oli" and queue)
            body = {} if method in ("PUT", "POST", "PATCH") else None
            status = status_of(browser, method, path, body)
            assert (status != 403) == may, (name, method, path, status)
            assert status != 401


def test_only_the_console_says_who_an_administrator_is(gateway, ann):
    ann.ask(
        "DELETE",
        "/api/v1/queue/00000000001",
        postern_actor="eve",
        postern_client="203.0.113.1",
    )
    row = gateway.api("GET", "/api/v1/audit?action=queue")[1]["items"][0]
    assert (row["actor"], row["origin"]) == ("ann", "console, client 127.0.0.1")
    forged = {"action": "admins.add", "target": "eve", "outcome": "done", "detail": ""}
    assert ann.ask("POST", "/api/v1/audit", forged).status == 403
    assert gateway.api("POST", "/api/v1/audit", forged)[0] == 403


# ---- what passes through ----


def test_settings_are_read_and_changed_with_their_tags(ann):
    read = ann.get("/api/v1/settings")
    tag = read.headers["ETag"]
    patch = {"identity": {"greeting": "ESMTP as the console says"}}
    done = ann.ask(
        "PATCH", "/api/v1/settings?comment=by%20the%20console%20%26%20more", patch, if_match=tag
    )
    assert done.status == 200, done.text
    stale = ann.ask("PATCH", "/api/v1/settings", patch, if_match=tag)
    assert stale.status == 412 and stale.headers["Content-Type"] == "application/problem+json"
    revision = ann.get("/api/v1/settings/revisions?limit=1").json["items"][0]
    assert (revision["author"], revision["comment"]) == ("ann", "by the console & more")
    wrong = ann.ask("PATCH", "/api/v1/settings", {"identity": {"nonsense": 1}})
    assert wrong.status == 422 and wrong.json["errors"][0]["pointer"] == "/identity/nonsense"


def test_long_bodies_pass_both_ways_whole(gateway, ann):
    lines = "".join(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n" for n in range(60000))
    assert len(lines) > 600000
    sent = ann.ask(
        "POST", "/api/v1/connections/lists/deny?dry_run=false", lines, content_type="text/plain"
    )
    assert sent.status == 200 and sent.json["added"] == 60000, sent.text
    got = ann.get("/api/v1/connections/lists/deny", accept="text/plain")
    assert got.status == 200 and got.headers["Content-Type"].startswith("text/plain")
    assert [e for e in got.text.splitlines() if not e.startswith("#")] == lines.splitlines()
    ann.ask("POST", "/api/v1/connections/lists/deny?replace=true", "", content_type="text/plain")


def test_a_message_passes_byte_for_byte(gateway, ann):
    content = make_message(body=b"0123456789 <script>\r\n" * 300_000)
    with gateway.client() as client:
        client.hello()
        client.delivers(content, "a@source.example", "b@sink.example")
    (item,) = ann.get("/api/v1/queue").json["items"]
    straight = gateway.api("GET", f"/api/v1/queue/{item['id']}/content")[1]
    got = ann.get(f"/api/v1/queue/{item['id']}/content")
    assert got.headers["Content-Type"] == "message/rfc822"
    assert got.body.endswith(content) and got.text == straight
    head = ann.ask("HEAD", f"/api/v1/queue/{item['id']}/content")
    assert head.status == 200 and int(head.headers["Content-Length"]) == len(got.body)
    assert head.body == b""
    assert ann.ask("DELETE", f"/api/v1/queue/{item['id']}").status in (200, 204)


def test_a_stranger_sends_no_long_body(gateway, browser):
    answer = browser.raw(
        b"POST /api/v1/connections/lists/deny HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 50000000\r\n\r\n" + b"a" * 1000
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("name, status", [("vic", 413), ("ann", 200)])
def test_only_administrators_send_very_long_bodies(browser, name, status):
    browser.log_in(name, PASSWORD)
    octets = (
        f"POST /api/v1/connections/lists/deny?dry_run=true HTTP/1.1\r\nHost: localhost\r\n"
        f"Cookie: postern_session={browser.cookie}\r\nX-CSRF-Token: {browser.csrf}\r\n"
        "Content-Type: text/plain\r\nContent-Length: 6000000\r\nConnection: close\r\n\r\n"
    )
    body = b"# nothing at all\n" * 400_000
    answer = browser.raw(octets.encode() + (body[:6_000_000] if status == 200 else b""))
    assert answer.split(b" ")[1] == str(status).encode(), answer[:300]


def test_without_the_gateway_the_console_says_so():
    with Postern(free_port()) as gateway:
        gateway.cli("admin", "add", "ann", stdin=PASSWORD)
        gateway.stop()
        with console_alone(gateway.state) as url:
            browser = Browser(url)
            browser.log_in("ann", PASSWORD)
            assert browser.get("/healthz").status == 200
            assert browser.get("/readyz").status == 503
            assert browser.get("/api/v1/status").status == 503
            wish = {"name": "t"}
            refused = browser.ask("POST", "/api/v1/tokens", wish)
            assert refused.status == 503 and "audit" in refused.text
            assert browser.get("/api/v1/tokens").json["items"] == []


@contextlib.contextmanager
def console_alone(state, listen: str = "127.0.0.1:{port}"):
    port = free_port()
    listen = listen.format(port=port)
    process = subprocess.Popen(
        [str(BINARY), "console", "--state", str(state), "--console", listen],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None
            time.sleep(0.05)
        secure = not listen.startswith("127.")
        yield f"http{'s' if secure else ''}://127.0.0.1:{port}/"
    finally:
        process.terminate()
        assert process.wait(30) == 0
        process.stdout.close()


# ---- what strangers try ----


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/healthz",
        "/api/v1/queue/..%2f..%2fsettings",
        "/api/v1/queue/a%5cb",
        "/api/v1//settings",
        "/api/v1/settings/",
        "/api/v1/./settings",
        "/api/v1/queue/%0d%0aPostern-Actor:%20eve",
    ],
)
def test_a_path_that_is_not_plain_is_no_resource(ann, target):
    octets = (
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: postern_session={ann.cookie}\r\n"
        "Connection: close\r\n\r\n"
    )
    answer = ann.raw(octets.encode())
    assert answer.split(b" ")[1] == b"404", answer


def test_a_query_cannot_end_the_line(gateway, ann):
    answer = ann.get("/api/v1/queue?sender=%0d%0aX-Evil:%201&cursor=%23%26%3f")
    assert answer.status in (200, 400, 422) and "X-Evil" not in answer.headers


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 401),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({}, 401),
    ],
)
def test_pages_of_other_sites_log_nobody_in(gateway, headers, status):
    browser = Browser(console_url(gateway), "127.0.0.77")
    answer = browser.ask(
        "POST", "/api/v1/login", {"name": "nobody", "password": "x"}, **headers
    )
    assert answer.status == status
    browser.source = "127.0.0.78"
    body = {"token": "x", "name": "nobody", "password": PASSWORD}
    refused = browser.ask("POST", "/api/v1/setup", body, **headers)
    assert refused.status == 403
    assert ("another site" in refused.json["detail"]) == (status == 403)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io"])
def test_it_answers_to_no_other_name(ann, host):
    assert ann.get("/api/v1/status", host=host).status == 421


def test_every_answer_has_its_headers(ann):
    for target in ("/", "/login", "/none", "/api/v1/status", "/api/v1/none", "/healthz"):
        headers = ann.get(target).headers
        assert headers["Content-Security-Policy"], target
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
        assert "unsafe" not in policy and "script-src 'self';" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == ("no-cache" if target in ("/", "/login") else "no-store")
        assert "Strict-Transport-Security" not in headers
    for refused in (
        ann.get("/", host="evil.example"),
        ann.ask("PUT", "/login"),
        ann.ask("POST", "/login"),
        ann.ask("POST", "/api/v1/login", origin="https://evil.example"),
    ):
        assert refused.status in (403, 405, 421)
        assert "frame-ancestors 'none'" in refused.headers["Content-Security-Policy"]


# ---- HTTPS ----


def certificate_of(url: str) -> bytes:
    parts = urlsplit(url)
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((parts.hostname, parts.port)))


def test_https_with_a_certificate_made_at_the_first_start():
    with temporary_folder() as folder:
        state = folder / "state"
        run_postern("admin", "add", "ann", state=state, stdin=PASSWORD)
        with console_alone(state, "0.0.0.0:{port}") as url:
            browser = Browser(url)
            answer = browser.log_in("ann", PASSWORD)
            assert answer.headers["Set-Cookie"].endswith("; Secure")
            assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
            assert browser.get("/api/v1/me").json["name"] == "ann"
            plain = Browser(url).raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.startswith(b"HTTP/")
            first = certificate_of(url)
        pem = state / "console" / "self-signed.pem"
        assert stat.S_IMODE(os.stat(pem).st_mode) == 0o600
        with console_alone(state, "https://127.0.0.1:{port}") as url:
            assert certificate_of(url) == first  # made once
        pem.rename(state / "console" / "certificate.pem")
        with console_alone(state, "https://127.0.0.1:{port}") as url:
            assert certificate_of(url) == first  # one's own
            trusting = ssl.create_default_context(cafile=state / "console" / "certificate.pem")
            parts = urlsplit(url)
            with (
                socket.create_connection((parts.hostname, parts.port), 30) as connection,
                trusting.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
            ):
                assert secure.version() == "TLSv1.3"
        (state / "console" / "certificate.pem").write_text("nonsense")
        run = run_postern(
            "console", "--console", "https://127.0.0.1:0", state=state, status=None
        )
        assert run.returncode != 0 and "certificate.pem cannot be used" in run.stderr


def test_a_long_body_over_https():
    with Postern(free_port()) as gateway:
        gateway.cli("admin", "add", "ann", stdin=PASSWORD)
        with console_alone(gateway.state, "https://127.0.0.1:{port}") as url:
            browser = Browser(url)
            browser.log_in("ann", PASSWORD)
            lines = "".join(f"10.1.{n >> 8}.{n & 255}\n" for n in range(20000))
            sent = browser.ask(
                "POST", "/api/v1/connections/lists/deny", lines, content_type="text/plain"
            )
            assert sent.status == 200 and sent.json["added"] == 20000
            got = browser.get("/api/v1/connections/lists/deny", accept="text/plain")
            assert got.text.count("\n10.1.") + got.text.startswith("10.1.") == 20000


def test_another_certificate_is_served_without_a_start():
    with temporary_folder() as folder:
        state = folder / "state"
        run_postern("admin", "add", "ann", state=state, stdin=PASSWORD)
        own = state / "console" / "certificate.pem"
        with console_alone(state, "https://127.0.0.1:{port}") as url:
            made_here = served = certificate_of(url)
            browser = Browser(url)
            browser.log_in("ann", PASSWORD)
            for name in ("one.example", "two.example"):
                leaf = pki.make(name, names=[name])
                fresh = own.with_suffix(".new")
                fresh.write_text(leaf.pem + leaf.key_pem)
                fresh.rename(own)
                served = wait_for_another(url, served)
                assert served == leaf.der
                # Who is logged in stays so, and the console answers to the names in it.
                assert browser.get("/api/v1/me", host=name).status == 200
            assert browser.get("/api/v1/me", host="one.example").status == 421
            # What cannot be used changes nothing; the one that follows counts again.
            own.write_text("nonsense")
            assert certificate_of(url) == served
            own.unlink()
            assert wait_for_another(url, served) == made_here


def wait_for_another(url: str, former: bytes) -> bytes:
    until = time.monotonic() + 60
    while (now := certificate_of(url)) == former:
        assert time.monotonic() < until
        time.sleep(0.1)
    return now


# ---- the audit log ----


def test_every_change_is_in_the_audit_log_with_who_made_it(gateway, ann):
    """Each kind of change, by a session and by a token; reading leaves no row."""
    made = ann.ask("POST", "/api/v1/tokens", {"name": "robot", "role": "administrator"}).json
    robot = Browser(console_url(gateway))
    robot.bearer = made["token"]
    leaf = pki.make("audit.example", names=["audit.example"])
    upload = {"certificate": leaf.pem, "private_key": leaf.key_pem}
    for who, name in ((ann, "ann"), (robot, "ann (token robot)")):
        with gateway.client() as client:
            client.hello()
            client.delivers(make_message(), "a@source.example", "b@nowhere.invalid")
            (live,) = who.get("/api/v1/connections/live").json["items"][:1]
            gone = who.ask("DELETE", f"/api/v1/connections/live/{live['id']}?now=true")
            assert gone.status in (200, 202, 204), gone.text
        item = who.get("/api/v1/queue").json["items"][0]["id"]
        revision = who.get("/api/v1/settings").headers["ETag"].strip('"')
        ban = {"address": "203.0.113.9", "minutes": 5}
        entries = "/api/v1/connections/lists/deny"
        changes = [
            ("PATCH", "/api/v1/settings", {"identity": {"greeting": f"by {name[:3]}{name[-2]}"}}),
            ("PATCH", entries, {"add": ["203.0.113.8"]}),
            ("POST", f"{entries}?replace=true", ""),
            ("POST", f"/api/v1/settings/revisions/{revision}/restore", {}),
            ("POST", "/api/v1/connections/bans", ban),
            ("DELETE", "/api/v1/connections/bans/203.0.113.9", None),
            ("POST", f"/api/v1/queue/{item}/hold", {}),
            ("POST", f"/api/v1/queue/{item}/release", {}),
            ("POST", f"/api/v1/queue/{item}/retry", {}),
            ("POST", "/api/v1/queue/hold", {"ids": [item]}),
            ("DELETE", f"/api/v1/queue/{item}", None),
            ("POST", "/api/v1/tls/certificates", upload),
            ("POST", "/api/v1/log/flush", None),
        ]
        for method, path, body in changes:
            headers = {"content_type": "text/plain"} if body == "" else {}
            before = who.get("/api/v1/audit?limit=1").json["items"][0]["id"]
            answer = who.ask(method, path, body, **headers)
            assert answer.status < 300, (method, path, answer.text)
            row = ann.get("/api/v1/audit?limit=1").json["items"][0]
            assert row["id"] > before, (method, path)
            assert (row["actor"], row["outcome"]) == (name, "done"), (method, path, row)
            assert row["origin"] == "console, client 127.0.0.1"
    ann.ask("DELETE", f"/api/v1/tokens/{made['id']}")
