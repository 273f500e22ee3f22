"""The command line: settings, queue, status, trace, and how errors are said."""

import json
import re

import pytest

from lib import Hop, Postern, Sink, free_port, make_message, run_postern, temporary_folder


def one_line(text: str) -> str:
    """An error is one clear line."""
    lines = text.strip().splitlines()
    assert len(lines) == 1 and 10 < len(lines[0]) < 400, text
    return lines[0]


@pytest.fixture(scope="module")
def gateway():
    """A gateway whose next hop is down, for what does not change it."""
    with Postern(free_port()) as gateway:
        yield gateway


def send(gateway, *recipients, sender="a@source.example"):
    with gateway.client() as client:
        client.hello()
        reply = client.delivers(make_message(), sender, *recipients)
    return reply.text


# ---- usage ----


def test_help_names_every_command_and_each_has_its_own():
    text = run_postern("--help").stdout
    for command in ("run", "gateway", "settings", "queue", "trace", "status"):
        assert re.search(rf"\b{command}\b", text), text
        own = run_postern(command, "--help").stdout
        assert command in own and len(own) > 60


def test_version():
    assert re.search(r"\d+\.\d+\.\d+", run_postern("--version").stdout)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("frobnicate",),
        ("queue", "frobnicate"),
        ("queue", "list", "--frobnicate"),
        ("settings", "apply"),
        ("trace",),
        ("run", "--console"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(words):
    run = run_postern(*words, status=2)
    assert run.stderr.strip() and not run.stdout.strip()


@pytest.mark.parametrize("words", [("queue", "list"), ("status",)], ids=" ".join)
def test_a_gateway_that_is_down_is_said_in_one_line(words):
    with temporary_folder() as folder:
        assert "is it running?" in one_line(run_postern(*words, state=folder, status=1).stderr)


def test_the_ready_line(gateway):
    assert re.fullmatch(
        rf"ready smtp=127\.0\.0\.1:{gateway.port} console=https?://127\.0\.0\.1:\d+/?",
        gateway.ready_line(),
    )
    assert sum(line.startswith("ready ") for line in gateway.lines) == 1


def test_state_may_come_from_the_environment(gateway):
    run = run_postern("status", "--json", environment={"POSTERN_STATE": str(gateway.state)})
    assert json.loads(run.stdout)


# ---- settings ----


def test_export_and_apply_are_inverse(gateway):
    document = gateway.cli("settings", "export")
    path = gateway.folder / "exported.json"
    path.write_text(document)
    gateway.cli("settings", "apply", path)
    assert json.loads(gateway.cli("settings", "export")) == json.loads(document)
    assert json.loads(document)["connections"]["interface"]["port"] == gateway.port


def test_show_prints_one_value(gateway):
    assert gateway.cli("settings", "show", "connections.interface.port").strip() == str(
        gateway.port
    )
    assert gateway.cli("settings", "show", "identity.hostname").strip().strip('"') == "gw.example"
    assert json.loads(gateway.cli("settings", "show"))["message_rules"]["max_message_size_mb"] == 50
    one_line(gateway.cli("settings", "show", "connections.interface.nothing", status=1))


@pytest.mark.parametrize(
    "patch, pointer",
    [
        ({"connections": {"interface": {"port": 0}}}, "/connections/interface/port"),
        ({"connections": {"interface": {"port": "25"}}}, "/connections/interface/port"),
        ({"connections": {"interface": {"prot": 25}}}, "/connections/interface/prot"),
        (
            {"connections": {"interface": {"max_connections": 0}}},
            "/connections/interface/max_connections",
        ),
        (
            {"connections": {"control": {"deny_list": ["10.0.0.1", "300.1.1.1"]}}},
            "/connections/control/deny_list/1",
        ),
        ({"connections": {"control": {"mode": "everyone"}}}, "/connections/control/mode"),
        (
            {
                "delivery": {
                    "routes": [{"domain": "*", "next_hops": [{"host": "h.example", "port": 70000}]}]
                }
            },
            "/delivery/routes/0/next_hops/0/port",
        ),
        ({"surprise": 1}, "/surprise"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_and_nothing_changes(gateway, patch, pointer):
    before = gateway.cli("settings", "export")
    path = gateway.folder / "wrong.json"
    path.write_text(json.dumps({**json.loads(before), **patch}))
    assert pointer in gateway.cli("settings", "apply", path, status=1)
    assert gateway.cli("settings", "export") == before


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", '{"identity": {}, "identity": {}}', '{"a": 1} trailing'], ids=repr
)
def test_what_is_no_settings_document_is_refused(gateway, text):
    path = gateway.folder / "wrong.json"
    path.write_text(text)
    before = gateway.cli("settings", "export")
    assert gateway.cli("settings", "apply", path, status=1).strip()
    assert gateway.cli("settings", "export") == before


def test_a_dry_run_changes_nothing(gateway):
    before = gateway.cli("settings", "export")
    path = gateway.folder / "dry.json"
    path.write_text(json.dumps({**json.loads(before), "message_rules": {"max_message_size_mb": 7}}))
    gateway.cli("settings", "apply", path, "--dry-run")
    assert gateway.cli("settings", "export") == before


def test_settings_work_with_the_gateway_down():
    with temporary_folder() as folder:
        state = folder / "state"
        path = folder / "settings.json"
        path.write_text(json.dumps({"identity": {"hostname": "offline.example"}}))
        run_postern("settings", "apply", path, state=state)
        assert (
            "offline.example"
            in run_postern("settings", "show", "identity.hostname", state=state).stdout
        )
        port = free_port()
        path.write_text(
            json.dumps(
                {
                    "identity": {"hostname": "offline.example"},
                    "connections": {"interface": {"port": port}},
                }
            )
        )
        run_postern("settings", "apply", path, state=state)
        with Postern(state=state, port=port, start=False) as gateway:
            gateway.start(apply=False)
            with gateway.client() as client:
                assert client.greeting.text.startswith("offline.example ")


# ---- spool ----


def test_the_spool_is_checked_and_exported_while_the_gateway_is_down():
    with Postern(free_port()) as gateway:
        identifier = re.search(r"stored as (\w+)", send(gateway, "b@sink.example"))[1]
        assert "running" in one_line(gateway.cli("spool", "check", status=1))
        gateway.stop()
        assert "1 message kept" in gateway.cli("spool", "check")
        assert gateway.json("spool", "check")["damaged"] == 0
        with temporary_folder() as folder:
            target = folder / "rescued"
            assert "1 message written" in gateway.cli("spool", "export", str(target))
            assert (target / f"{identifier}.eml").read_bytes().endswith(make_message())
            envelope = json.loads((target / "envelopes.jsonl").read_text())
            assert envelope["id"] == identifier
            one_line(gateway.cli("spool", "export", str(target), status=1))


# ---- queue ----


def test_queue_commands():
    port = free_port()
    with Postern(port) as gateway:
        for number in range(3):
            send(gateway, f"b{number}@sink.example", sender=f"a{number}@source.example")
        gateway.wait_until(
            lambda: {m["recipients"][0]["state"] for m in gateway.queue()} == {"deferred"},
            "all deferred",
        )
        listed = gateway.json("queue", "list")
        assert listed["total"] == 3 and len(listed["items"]) == 3
        first, second, third = (item["id"] for item in listed["items"])
        text = gateway.cli("queue", "list")
        assert all(
            word in text for word in (first, second, third, "a0@source.example", "b2@sink.example")
        )
        shown = gateway.json("queue", "show", first)
        assert (
            shown["recipients"][0]["address"] == "b0@sink.example"
            and shown["recipients"][0]["state"] == "deferred"
        )
        assert "refused" in shown["recipients"][0]["reply"].lower()
        assert "b0@sink.example" in gateway.cli("queue", "show", first)

        gateway.cli("queue", "delete", first)
        assert [item["id"] for item in gateway.queue()] == [second, third]
        one_line(gateway.cli("queue", "show", first, status=1))
        one_line(gateway.cli("queue", "delete", first, status=1))
        one_line(gateway.cli("queue", "show", "NONSENSE", status=1))
        gateway.cli("queue", "hold", second)  # or it would follow once the next hop is there
        with Sink(port) as sink:
            gateway.cli("queue", "retry", third)
            assert sink.wait_for(1)[0].recipients == ["b2@sink.example"]
            gateway.wait_until(lambda: len(gateway.queue()) == 1, "one left")
            gateway.restart()
            assert [item["id"] for item in gateway.queue()] == [second]
            gateway.cli("queue", "delete", "--all")
            gateway.settle()
            assert len(sink.messages) == 1
        gateway.restart()
        assert gateway.queue() == []


def test_a_held_message_waits_until_it_is_released():
    with Hop({"RCPT": "451 4.3.0 later"}) as hop, Postern(hop) as gateway:
        send(gateway)
        item = gateway.wait_until(
            lambda: next((m for m in gateway.queue() if m["recipients"][0]["attempts"]), None),
            "tried",
        )
        gateway.cli("queue", "hold", item["id"])
        hop.answers.clear()
        gateway.cli("queue", "retry", "--all")  # leaves held messages held
        gateway.restart()
        assert gateway.queue()[0]["held"] is True
        assert hop.messages == []
        gateway.cli("queue", "release", item["id"])
        gateway.cli("queue", "retry", "--all")
        hop.wait_for(1)
        gateway.settle()


# ---- what is going on ----


def test_status():
    with Sink() as sink, Postern(sink) as gateway:
        client = gateway.client()
        client.hello()
        send(gateway)
        gateway.settle()
        status = gateway.json("status")
        assert status["health"] in ("green", "yellow")
        assert status["sessions"]["now"] >= 1 and status["messages"]["accepted"] == 1
        gateway.wait_until(
            lambda: gateway.json("status")["messages"]["delivered"] == 1, "counted as delivered"
        )
        assert any(
            str(gateway.port) in listener["address"] and listener["listening"]
            for listener in status["listeners"]
        )
        text = gateway.cli("status")
        assert str(gateway.port) in text


def test_trace_tells_the_life_of_a_message():
    with Hop(
        {"RCPT": lambda hop, line: "550 5.1.1 nobody here" if "nobody" in line else None}
    ) as hop, Postern(hop) as gateway:
        reply = send(gateway, "b@sink.example", "nobody@sink.example")
        hop.wait_for(2)
        gateway.settle()
        identity = (
            next(m for m in hop.messages if m.reverse_path)
            .content.decode()
            .split(" id ")[1]
            .split()[0]
            .rstrip(";")
        )
        assert identity in reply
        text = gateway.wait_until(
            lambda: (lambda t: t if "nobody here" in t else None)(
                gateway.cli("trace", identity, status=None)
            ),
            "the log has it all",
        )
        assert all(
            word in text
            for word in ("a@source.example", "b@sink.example", "nobody@sink.example", "127.0.0.1")
        )
        assert identity in gateway.cli("trace", "b@sink.example")
        one_line(gateway.cli("trace", "0000000000000", status=1))
