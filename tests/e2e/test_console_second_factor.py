"""The second factor: codes of an authenticator, recovery codes, and the ways out."""

import base64
import hashlib
import hmac
import json
import struct
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from lib import Browser, Postern, console_url, free_port, run_postern

pytestmark = pytest.mark.asan

PASSWORD = "correct horse battery"
FACTOR = "/api/v1/me/second-factor"


@pytest.fixture(scope="module")
def gateway():
    with Postern(free_port()) as gateway:
        gateway.cli("admin", "add", "ann", stdin=PASSWORD)
        yield gateway


class Device:
    """An authenticator of its own (RFC 6238), which never shows a code twice."""

    def __init__(self, key: str):
        self.key = base64.b32decode(key)
        self.last = 0

    def code_of(self, step: int) -> str:
        mac = hmac.new(self.key, struct.pack(">Q", step), hashlib.sha1).digest()
        at = mac[19] & 15
        number = struct.unpack(">I", mac[at : at + 4])[0] & 0x7FFFFFFF
        return f"{number % 1000000:06}"

    def code(self) -> str:
        """A new one; the steps of before and behind count too, so this seldom has to wait."""
        while True:
            now = int(time.time()) // 30
            step = max(self.last + 1, now - 1)
            if step <= now + 1:
                self.last = step
                return self.code_of(step)
            time.sleep(0.5)


@pytest.fixture
def someone(gateway, request):
    """A new account with a second factor: name, its browser, device, recovery codes."""
    name = f"x{abs(hash(request.node.name)) % 10**9}"
    gateway.cli("admin", "add", name, "--role", "viewer", stdin=PASSWORD)
    browser = Browser(console_url(gateway))
    browser.log_in(name, PASSWORD)
    begun = browser.ask("POST", FACTOR, {"password": PASSWORD})
    assert begun.status == 200, begun.text
    device = Device(begun.json["key"])
    uri = urlsplit(begun.json["uri"])
    assert uri.scheme == "otpauth" and uri.netloc == "totp" and uri.path == f"/Postern:{name}"
    assert parse_qs(uri.query)["secret"] == [begun.json["key"]]
    done = browser.ask("PUT", FACTOR, {"code": device.code()})
    assert done.status == 200, done.text
    browser.csrf = done.json["csrf"]
    assert len(done.json["recovery_codes"]) == 10
    return name, browser, device, done.json["recovery_codes"]


def log_in(gateway, name: str, code: str | None = None, password: str = PASSWORD):
    browser = Browser(console_url(gateway))
    body = {"name": name, "password": password} | ({} if code is None else {"code": code})
    return browser, browser.ask("POST", "/api/v1/login", body)


def pointers(answer) -> list[str]:
    return [error["pointer"] for error in answer.json["errors"]]


def test_the_code_is_needed_and_counts_once(gateway, someone):
    name, browser, device, _ = someone
    me = browser.get("/api/v1/me").json
    assert me["second_factor"] is True and me["recovery_codes"] == 10
    for code in (None, ""):
        other, answer = log_in(gateway, name, code)
        assert answer.status == 401 and pointers(answer) == ["/code"] and not other.cookie
    # Who does not know the password learns nothing of it.
    _, answer = log_in(gateway, name, device.code_of(0), "wrong password")
    assert answer.status == 401 and "errors" not in answer.json
    code = device.code()
    other, answer = log_in(gateway, name, code)
    assert answer.status == 200 and other.get("/api/v1/me").status == 200
    again, answer = log_in(gateway, name, code)
    assert answer.status == 401 and pointers(answer) == ["/code"] and not again.cookie
    stored = (gateway.state / "console" / "accounts.json").read_text()
    assert base64.b32encode(device.key).decode() not in stored


def test_recovery_codes_count_once(gateway, someone):
    name, _, _, codes = someone
    browser, answer = log_in(gateway, name, codes[3].lower())
    assert answer.status == 200
    assert browser.get("/api/v1/me").json["recovery_codes"] == 9
    _, answer = log_in(gateway, name, codes[3])
    assert answer.status == 401
    rows = gateway.api("GET", f"/api/v1/audit?actor={name}&action=console.login")[1]["items"]
    assert [row["outcome"] for row in rows][:2] == ["refused", "done"]
    assert rows[0]["detail"] == "wrong code" and "9 are left" in rows[1]["detail"]
    assert codes[3] not in (gateway.state / "console" / "accounts.json").read_text()
    assert codes[3] not in gateway.log()


def test_codes_cannot_be_guessed(gateway, someone):
    name, _, device, codes = someone
    now = int(time.time()) // 30
    right = {device.code_of(step) for step in range(now - 5, now + 20)}
    wrong = [code for n in range(200) if (code := f"{n:06}") not in right]
    statuses = []
    for at, code in enumerate(wrong[:9]):
        # From different addresses, so that only the account's own limit is met.
        browser = Browser(console_url(gateway), f"127.0.1.{at + 1}")
        body = {"name": name, "password": PASSWORD, "code": code}
        statuses.append(browser.ask("POST", "/api/v1/login", body).status)
    assert statuses[:3] == [401] * 3 and statuses[-3:] == [429] * 3
    # Then not even a right one is looked at.
    _, answer = log_in(gateway, name, codes[0])
    assert answer.status == 429 and int(answer.headers["Retry-After"]) > 0


def test_beginning_needs_password_and_a_right_code(gateway):
    gateway.cli("admin", "add", "begin", stdin=PASSWORD)
    browser, _ = log_in(gateway, "begin")
    browser.csrf = browser.get("/api/v1/me").json["csrf"]
    assert browser.ask("PUT", FACTOR, {"code": "123456"}).status == 409
    assert browser.ask("POST", FACTOR, {"password": "wrong"}).status == 422
    key = browser.ask("POST", FACTOR, {"password": PASSWORD}).json["key"]
    device = Device(key)
    old = device.code_of(int(time.time()) // 30 - 10)
    assert pointers(browser.ask("PUT", FACTOR, {"code": old})) == ["/code"]
    # Not confirmed, so not in force.
    _, answer = log_in(gateway, "begin")
    assert answer.status == 200
    other, _ = log_in(gateway, "begin")
    assert browser.ask("PUT", FACTOR, {"code": device.code()}).status == 200
    assert other.get("/api/v1/me").status == 401
    assert browser.get("/api/v1/me").status == 200
    browser.csrf = browser.get("/api/v1/me").json["csrf"]
    wrong = browser.ask("DELETE", FACTOR, {"password": PASSWORD, "code": "1"})
    assert wrong.status == 422 and pointers(wrong) == ["/code"]
    assert browser.ask("DELETE", FACTOR, {"password": PASSWORD}).status == 422
    gone = browser.ask("DELETE", FACTOR, {"password": PASSWORD, "code": device.code()})
    assert gone.status == 200, gone.text
    assert browser.get("/api/v1/me").json["second_factor"] is False
    _, answer = log_in(gateway, "begin")
    assert answer.status == 200
    _, answer = log_in(gateway, "begin", "123456")
    assert answer.status == 422 and pointers(answer) == ["/code"]


def test_a_lost_device_is_no_end(gateway, someone):
    name, browser, _, _ = someone
    listed = {a["name"]: a for a in gateway.json("admin", "list")["items"]}
    assert listed[name]["second_factor"] is True and listed["ann"]["second_factor"] is False
    assert "is logged out" in gateway.cli("admin", "second-factor", name, "--off")
    assert browser.get("/api/v1/me").status == 401
    _, answer = log_in(gateway, name)
    assert answer.status == 200
    assert "no second factor" in gateway.cli("admin", "second-factor", name, "--off")
    assert "second-factor" in run_postern(
        "admin", "second-factor", name, state=gateway.state, status=2
    ).stderr
    rows = gateway.api("GET", "/api/v1/audit?action=admins.second_factor")[1]["items"]
    assert (rows[0]["target"], rows[0]["detail"]) == (name, "off")


def test_an_administrator_can_take_it_away_but_not_begin_it(gateway, someone):
    name, _, _, _ = someone
    ann = Browser(console_url(gateway))
    ann.log_in("ann", PASSWORD)
    path = f"/api/v1/admins/{name}"
    assert pointers(ann.ask("PATCH", path, {"second_factor": True})) == ["/second_factor"]
    assert ann.ask("PATCH", path, {"second_factor": False}).json["second_factor"] is False
    _, answer = log_in(gateway, name)
    assert answer.status == 200


def test_it_works_with_the_gateway_down_and_survives_a_start(gateway, someone):
    name, _, device, codes = someone
    gateway.restart()
    _, answer = log_in(gateway, name)
    assert answer.status == 401
    _, answer = log_in(gateway, name, device.code())
    assert answer.status == 200
    text = json.dumps(json.loads((gateway.state / "console" / "accounts.json").read_text()))
    assert name in text and codes[0] not in text
