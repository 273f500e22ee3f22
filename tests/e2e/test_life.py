"""Starting, ending, and being ended: what was answered 250 is kept."""

import json
import queue
import os
import random
import signal
import smtplib
import socket
import threading

import pytest

from lib import Hop, Postern, Sink, free_port, make_message, run_postern, split_trace


def test_sigterm_lets_data_finish_and_ends_with_status_0():
    with Sink() as sink, Postern(sink) as gateway:
        idle = gateway.client()
        idle.hello()
        busy = gateway.client()
        busy.hello()
        message = make_message("in flight", body=b"x" * 70 + b"\r\n")
        busy.starts_data().sends(message[:40])
        gateway.terminate()
        idle.expect(421, "4.3.2")
        idle.expect_closed()
        busy.sends(message[40:] + b".\r\n").expect(250)
        busy.expect(421, "4.3.2")  # idle now, and not waited for
        busy.expect_closed()
        assert gateway.wait() == 0
        gateway.start(apply=False)
        assert split_trace(sink.wait_for(1)[0].content)[1] == message
        gateway.settle()


def test_sigterm_takes_no_new_client_and_ends_soon_when_nothing_is_in_flight():
    with Postern() as gateway:
        gateway.terminate()
        assert gateway.wait(10) == 0
        with pytest.raises(ConnectionRefusedError):
            gateway.client()
        assert not (gateway.state / "api.sock").exists()


def test_sigint_is_a_way_to_end_it_too():
    with Postern() as gateway:
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.wait(10) == 0


def test_a_second_sigterm_means_now():
    with Postern() as gateway:
        busy = gateway.client()
        busy.hello()
        busy.starts_data().sends(b"Subject: never ends\r\n")
        gateway.terminate()
        gateway.wait_until(lambda: _refused(gateway.port), "no new client is taken", 10)
        gateway.terminate()
        gateway.wait(5)


def test_many_signals_at_once_end_every_process():
    # The console once stopped what it had freed already: it hung, and the supervisor with it.
    for _ in range(3):
        with Postern() as gateway:
            for _ in range(20):
                gateway.terminate()
                if gateway.process.poll() is not None:
                    break
            assert gateway.wait(20) == 0


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return False
    except OSError:
        return True


def test_two_gateways_do_not_share_a_state_folder():
    with Postern() as gateway:
        run = run_postern("gateway", state=gateway.state, status=None)
        assert run.returncode != 0
        lines = [
            line
            for line in run.stderr.splitlines()
            if "use" in line or "lock" in line or "running" in line
        ]
        assert lines, run.stderr
        with gateway.client() as client:
            client.hello()  # the first one is not disturbed


def test_the_settings_that_were_applied_last_are_used_at_the_next_start():
    with Sink() as sink, Postern(sink) as gateway:
        gateway.restart()
        with gateway.client() as client:
            client.hello()
            client.delivers(make_message())
        sink.wait_for(1)
        gateway.settle()


def test_a_queue_outlives_restarts():
    port = free_port()
    big = make_message(
        "big", body=b"0123456789abcdef" * 4 + b"\r\n" * 1 + (b"y" * 70 + b"\r\n") * 40_000
    )
    messages = [make_message(f"number {n}") for n in range(50)] + [big]
    with Postern(port) as gateway:
        with gateway.client() as client:
            client.hello()
            for message in messages:
                client.delivers(message)
        gateway.kill()
        gateway.start(apply=False)
        assert len(gateway.queue()) == 51
        gateway.restart()
        with Sink(port) as sink:
            gateway.cli("queue", "retry", "--all")
            sink.wait_for(51)
            gateway.settle()
            gateway.restart()  # what was delivered is not delivered again
            gateway.settle()
            assert sorted(split_trace(m.content)[1] for m in sink.messages) == sorted(messages)


def status_of(gateway) -> dict:
    return gateway.api("GET", "/api/v1/status")[1]


def api_is_up(gateway):
    try:
        return status_of(gateway)
    except OSError:
        return None


def test_a_port_that_is_taken_leaves_api_and_queue_up_and_is_tried_again():
    with Postern() as gateway:
        assert gateway.stop() == 0
        with socket.create_server(("127.0.0.1", gateway.port)):
            gateway.start(apply=False, ready=False)
            status = gateway.wait_until(lambda: api_is_up(gateway), "the API is up")
            assert status["health"] == "red"
            assert any(
                not listener["listening"] and listener["error"] for listener in status["listeners"]
            ), status
            gateway.cli("queue", "list")
            gateway.cli("settings", "export")
        gateway.wait_until(
            lambda: not _refused(gateway.port), "it listens once the port is free", 40
        )
        gateway.wait_until(lambda: status_of(gateway)["health"] != "red", "and says so")


def test_a_damaged_settings_database_leaves_api_and_queue_up():
    with Postern(free_port()) as gateway:
        with gateway.client() as client:
            client.hello()
            client.delivers(make_message())
        gateway.kill()
        damaged = [
            p
            for p in gateway.state.rglob("*")
            if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3"
        ]
        assert damaged
        for path in damaged:
            path.write_bytes(b"this is no database" * 500)
            for more in ("-wal", "-shm"):
                path.with_name(path.name + more).unlink(missing_ok=True)
        gateway.start(apply=False, ready=False)
        status = gateway.wait_until(lambda: api_is_up(gateway), "the API is up")
        assert status["health"] == "red"
        assert len(gateway.queue()) == 1
        # No silent default: it does not serve under settings that nobody made.
        assert _refused(gateway.port)


def test_settings_that_cannot_be_applied_at_the_start_are_said_and_the_old_ones_serve():
    with Postern() as gateway:
        assert gateway.stop() == 0
        good = gateway.document
        gateway.document = {"connections": {"interface": {"port": 0}}}
        gateway.start()
        assert "/connections/interface/port" in gateway.log()
        with gateway.client() as client:
            assert client.greeting.text.startswith("gw.example ")
        gateway.document = good


class Load:
    """Clients that send numbered messages for ever, and note which were answered 250. They bear a
    gateway that goes away."""

    def __init__(self, port: int, workers: int):
        self.port = port
        self.accepted: queue.Queue[int] = queue.Queue()
        self.acknowledged: dict[int, bytes] = {}
        self._numbers = iter(range(1 << 30))
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, worker: int) -> None:
        rng = random.Random(worker)
        while not self._stopping.is_set():
            try:
                with smtplib.SMTP(
                    "127.0.0.1", self.port, local_hostname="load.example", timeout=20
                ) as client:
                    while not self._stopping.is_set():
                        with self._lock:
                            number = next(self._numbers)
                        size = rng.choice((10, 100, 3000, 60_000) if number % 101 else (1_500_000,))
                        message = make_message(
                            f"number {number}", body=(b"%060d\r\n" % number) * (size // 60 + 1)
                        )
                        client.sendmail(f"n{number}@source.example", ["b@sink.example"], message)
                        self.acknowledged[number] = message
                        self.accepted.put(number)
            except (OSError, smtplib.SMTPException):
                self._stopping.wait(0.005)

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            self.accepted.get(timeout=30)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)


KILLS = int(os.environ.get("POSTERN_KILLS", "50"))
KILL_MESSAGES = int(os.environ.get("POSTERN_KILL_MESSAGES", "750"))  # at least; by hand 200, 10000


@pytest.mark.slow
@pytest.mark.timeout(240 + 4 * KILLS)
def test_kills_under_load_lose_nothing():
    rng = random.Random(5321)
    with Hop() as hop, Postern(hop) as gateway:
        load = Load(gateway.port, 8)
        for _ in range(KILLS):
            load.wait_for(rng.randrange(1, 2 * KILL_MESSAGES // KILLS))
            gateway.kill()
            gateway.start(apply=False)
        load.wait_for(max(0, KILL_MESSAGES - len(load.acknowledged)))
        load.stop()
        gateway.cli("queue", "retry", "--all")
        gateway.settle()
        arrived: dict[int, set[bytes]] = {}
        for message in hop.messages:
            number = int(message.reverse_path[1:].partition("@")[0])
            arrived.setdefault(number, set()).add(split_trace(message.content)[1])
    assert len(load.acknowledged) >= KILL_MESSAGES
    lost = [number for number in load.acknowledged if number not in arrived]
    assert (
        not lost
    ), f"{len(lost)} of {len(load.acknowledged)} were answered 250 and never arrived: {lost[:10]}"
    damaged = [n for n, message in load.acknowledged.items() if arrived[n] != {message}]
    assert not damaged, f"damaged: {damaged[:10]}"


def test_the_gateway_comes_back_when_it_dies_alone():
    """The supervisor's job; `ready` is said once."""
    with Sink() as sink, Postern(sink) as gateway:
        child = next(pid for pid in children(gateway.process.pid) if "gateway" in command_line(pid))
        signal_process(child, signal.SIGKILL)
        gateway.wait_until(
            lambda: any(
                p != child and "gateway" in command_line(p) for p in children(gateway.process.pid)
            ),
            "a new gateway",
        )
        gateway.wait_until(lambda: not _refused(gateway.port), "it serves again")
        with gateway.client() as client:
            client.hello()
            client.delivers(make_message())
        sink.wait_for(1)
        gateway.settle()
        assert sum(line.startswith("ready ") for line in gateway.lines) == 1


def test_no_process_outlives_the_supervisor():
    with Postern() as gateway:
        mine = children(gateway.process.pid)
        assert mine
        signal_process(gateway.process.pid, signal.SIGKILL)
        gateway.process.wait()
        gateway.process = None
        deadline = threading.Event()
        for _ in range(500):
            if not any(command_line(pid) for pid in mine):
                break
            deadline.wait(0.02)
        assert not any(command_line(pid) for pid in mine)


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def command_line(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().replace("\0", " ")
    except OSError:
        return ""


def signal_process(pid: int, number: int) -> None:
    os.kill(pid, number)


def test_settings_survive_a_kill_right_after_they_were_applied():
    with Postern() as gateway:
        document = json.loads(gateway.cli("settings", "export"))
        document["identity"]["greeting"] = "Changed ESMTP"
        path = gateway.folder / "changed.json"
        path.write_text(json.dumps(document))
        gateway.cli("settings", "apply", path)
        gateway.kill()
        gateway.start(apply=False)
        with gateway.client() as client:
            assert "Changed ESMTP" in client.greeting.text
