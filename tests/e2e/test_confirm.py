"""A change of the settings that goes back by itself unless it is confirmed."""

import contextlib
import json
import socket
import time

import pytest

from lib import Postern, free_port, run_postern

SETTINGS = "/api/v1/settings"
SOON = 5  # seconds, the least there is


def greets(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as s:
        s.settimeout(5)
        return s.recv(100).startswith(b"220")
    return False


def until(true, limit=30.0):
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def move(gateway, port, seconds, status=200):
    answer = gateway.api(
        "PATCH",
        f"{SETTINGS}?confirm_within={seconds}",
        {"connections": {"interface": {"port": port}}},
    )
    assert answer[0] == status, answer
    return answer[1]


def pending(gateway):
    return gateway.api("GET", f"{SETTINGS}/confirm")[1]["pending"]


def test_it_goes_back_by_itself():
    other = free_port()
    with Postern() as gateway:
        before = gateway.api("GET", f"{SETTINGS}/revisions")[1]["items"][0]["revision"]
        answer = move(gateway, other, SOON)
        assert answer["pending"]["before"] == before
        assert answer["pending"]["revision"] == answer["revision"]
        assert greets(other) and not greets(gateway.port)
        assert gateway.api("GET", "/api/v1/status")[1]["pending"] is not None
        until(lambda: pending(gateway) is None)
        assert greets(gateway.port) and not greets(other)
        newest = gateway.api("GET", f"{SETTINGS}/revisions")[1]["items"][0]
        assert newest["restored_from"] == before and newest["author"] == "postern"
        row = gateway.api("GET", "/api/v1/audit?action=settings.revert")[1]["items"][0]
        assert row["outcome"] == "done" and row["revision"] == newest["revision"]
        assert row["changes"] == [
            {"pointer": "/connections/interface/port", "before": other, "after": gateway.port}
        ]


def test_what_is_confirmed_stays():
    other = free_port()
    with Postern() as gateway:
        revision = move(gateway, other, 600)["revision"]
        assert gateway.api("POST", f"{SETTINGS}/confirm")[1]["revision"] == revision
        assert pending(gateway) is None and greets(other)
        assert gateway.api("POST", f"{SETTINGS}/confirm")[0] == 409
        row = gateway.api("GET", "/api/v1/audit?action=settings.confirm")[1]["items"]
        assert [r["outcome"] for r in row] == ["refused", "done"]


def test_no_other_change_meanwhile():
    with Postern() as gateway:
        revision = move(gateway, free_port(), 600)["revision"]
        for method, path, body in (
            ("PATCH", SETTINGS, {"message_rules": {"max_recipients": 5}}),
            ("PATCH", f"{SETTINGS}?confirm_within=60", {"message_rules": {"max_recipients": 5}}),
            ("PUT", SETTINGS, {}),
            ("POST", f"{SETTINGS}/revisions/1/restore", None),
            ("PATCH", "/api/v1/connections/lists/deny", {"add": ["192.0.2.1"]}),
        ):
            status, answer = gateway.api(method, path, body)
            assert status == 409 and f"Revision {revision} waits" in answer["detail"], (path, answer)
        status, answer = gateway.api("PATCH", f"{SETTINGS}?dry_run", {"identity": {"greeting": "x"}})
        assert status == 200, answer
        assert "waits to be confirmed" in gateway.cli("status")
        assert gateway.api("DELETE", f"{SETTINGS}/confirm")[0] == 200
        assert greets(gateway.port) and pending(gateway) is None
        status, _ = gateway.api("PATCH", SETTINGS, {"message_rules": {"max_recipients": 5}})
        assert status == 200


@pytest.mark.parametrize("down", [False, True])
def test_a_kill_does_not_keep_it(down):
    """With `down` the time is over before the gateway starts again."""
    other = free_port()
    with Postern() as gateway:
        move(gateway, other, SOON)
        end = time.monotonic() + SOON
        gateway.kill()
        if down:
            until(lambda: time.monotonic() > end + 0.1)
        gateway.start(apply=False)
        if down:
            assert pending(gateway) is None
        until(lambda: pending(gateway) is None)
        assert greets(gateway.port) and not greets(other)
        document = json.loads(gateway.cli("settings", "export"))
        assert document["connections"]["interface"]["port"] == gateway.port


def test_an_administrator_may_go_back_with_the_gateway_down():
    other = free_port()
    with Postern() as gateway:
        move(gateway, other, 600)
        gateway.stop()
        run_postern("settings", "rollback", "1", state=gateway.state)
        gateway.start(apply=False)
        assert pending(gateway) is None and greets(gateway.port)


def test_from_the_command_line(tmp_path):
    file = tmp_path / "settings.json"
    with Postern() as gateway:
        document = json.loads(gateway.cli("settings", "export"))
        document["identity"]["greeting"] = "hello"
        file.write_text(json.dumps(document))
        out = gateway.cli("settings", "apply", file, "--confirm-within", "600")
        assert "goes back by itself in" in out and "postern settings confirm" in out
        assert "is confirmed" in gateway.cli("settings", "confirm")
        document["identity"]["greeting"] = "other"
        file.write_text(json.dumps(document))
        gateway.cli("settings", "apply", file, "--confirm-within", "600")
        assert "back: revision" in gateway.cli("settings", "confirm", "--revert")
        assert gateway.cli("settings", "show", "identity.greeting").strip() == "hello"


@pytest.mark.parametrize("seconds", ["4", "86401", "-1", "x", ""])
def test_seconds_that_are_none(seconds):
    with Postern() as gateway:
        before = gateway.api("GET", SETTINGS)[1]
        status, answer = gateway.api(
            "PATCH", f"{SETTINGS}?confirm_within={seconds}", {"identity": {"greeting": "x"}}
        )
        assert status == 400 and "5 to 86400" in answer["detail"]
        assert gateway.api("GET", SETTINGS)[1] == before and pending(gateway) is None
