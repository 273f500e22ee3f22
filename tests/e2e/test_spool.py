"""The spool from outside: start with a full queue, a full disk, a disk that keeps nothing."""

import itertools
from dataclasses import dataclass

import pytest
from lib import Hop, Postern, Sink, free_port, make_message, split_trace

QUEUED = 4000
AT_ONCE = 50


@dataclass
class Within:
    """What the gateway's command is put behind."""

    prefix: list[str]


def status_of(gateway) -> dict:
    return gateway.api("GET", "/api/v1/status")[1]


def warnings_of(gateway) -> str:
    return " ".join(w["text"] for w in status_of(gateway)["warnings"])


def fill_queue(gateway, count: int) -> None:
    """Small messages, pipelined."""
    one = (
        "MAIL FROM:<a@source.example>\r\nRCPT TO:<b@sink.example>\r\nDATA\r\n"
        "Subject: waits\r\n\r\nx\r\n.\r\n"
    )
    # DATA ends a pipeline of commands, but not for this server: it takes what comes in order.
    with gateway.client() as client:
        client.hello()
        for _ in range(count // AT_ONCE):
            client.sends(one * AT_ONCE)
            for _ in range(AT_ONCE):
                for code in (250, 250, 354, 250):
                    client.expect(code)


@pytest.mark.slow
def test_mail_is_taken_and_delivered_while_the_queue_is_loading():
    dead = free_port()
    with Hop() as hop, Postern(
        dead,
        settings={
            "delivery": {
                "routes": [
                    {"domain": "*", "next_hops": [{"host": "127.0.0.1", "port": dead}]},
                    {"domain": "new.example", "next_hops": [{"host": "127.0.0.1", "port": hop.port}]},
                ]
            }
        },
    ) as gateway:
        fill_queue(gateway, QUEUED)
        gateway.kill()
        gateway.start(apply=False, loaded=False)
        with gateway.client() as client:
            client.hello()
            fresh = [make_message(f"fresh {n}") for n in range(20)]
            for message in fresh:
                client.delivers(message, "a@source.example", "b@new.example")
            hop.wait_for(20)
        assert sorted(split_trace(m.content)[1] for m in hop.messages) == sorted(fresh)
        # A list says whether it is whole, and a message not known yet is not said to be unknown.
        code, answer = gateway.api("GET", "/api/v1/queue?limit=1")
        assert code == 200 and answer["total"] <= QUEUED + 20
        assert answer["loading"] or answer["total"] >= QUEUED
        gateway.wait_until_loaded()
        assert gateway.api("GET", "/api/v1/queue?limit=1")[1]["loading"] is False
        # What was delivered is gone a moment after the next hop has it.
        gateway.wait_until(
            lambda: gateway.api("GET", "/api/v1/queue?limit=1")[1]["total"] == QUEUED
            and status_of(gateway)["spool"]["messages"] == QUEUED,
            "what waited is there, and nothing else",
        )
        # A stop in good order leaves footers: the next start reads no more than those.
        gateway.restart()
        assert gateway.api("GET", "/api/v1/queue?limit=1")[1]["total"] == QUEUED


def small_disk(gateway, megabytes: int) -> Within:
    spool = gateway.state / "spool"
    spool.mkdir(parents=True)
    mount = f'mount -t tmpfs -o size={megabytes}m,mode=0700 spool "$0" && exec "$@"'
    return Within(["unshare", "--mount", "sh", "-c", mount, str(spool)])


def test_a_full_disk_refuses_for_a_while_and_loses_nothing(root, tool):
    tool("unshare")
    port = free_port()
    with Postern(port, start=False) as gateway:
        gateway._limit = small_disk(gateway, 16)
        gateway.start()
        assert "tmpfs" in warnings_of(gateway)
        accepted = []
        with gateway.client() as client:
            client.hello()
            for number in itertools.count():
                message = make_message(f"number {number}", body=(b"z" * 70 + b"\r\n") * 3000)
                client.starts_data().sends_message(message)
                reply = client.reply()
                if reply.code != 250:
                    break
                accepted.append(message)
            assert (reply.code, reply.enhanced) == (452, "4.3.1"), reply
            assert 10 < len(accepted) < 100
            assert "space" in status_of(gateway)["spool"]["fault"].lower()
            # Deliveries go on, their outcomes are written, and that makes room.
            with Sink(port) as sink:
                gateway.cli("queue", "retry", "--all")
                sink.wait_for(len(accepted))
                gateway.settle()
                gateway.wait_until(
                    lambda: status_of(gateway)["spool"]["fault"] is None, "there is room again"
                )
                late = make_message("late")
                client.delivers(late)
                sink.wait_for(len(accepted) + 1)
                arrived = sorted(split_trace(m.content)[1] for m in sink.messages)
                assert arrived == sorted([*accepted, late])
        gateway.settle()


def test_a_spool_on_a_containers_layer_is_warned_of(root, tool):
    tool("unshare")
    with Postern(start=False) as gateway:
        spool = gateway.state / "spool"
        spool.mkdir(parents=True)
        layers = gateway.folder / "layers"
        layers.mkdir()
        mount = (
            'mount -t tmpfs layers "$1" && mkdir "$1/lower" "$1/upper" "$1/work" && '
            'mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" spool "$0" '
            '&& shift && exec "$@"'
        )
        gateway._limit = Within(["unshare", "--mount", "sh", "-c", mount, str(spool), str(layers)])
        gateway.start()
        assert "overlay" in warnings_of(gateway)
