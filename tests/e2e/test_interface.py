"""Where the gateway listens, for how many, and that changes are seen by nobody they do not concern."""

import os
import queue
import random
import smtplib
import socket
import threading
import time

import pytest

from lib import Client, ConversationError, Island, Postern, Sink, free_port, make_message

# More for a long run: POSTERN_SAVES=1000 POSTERN_SESSIONS=100 POSTERN_LIVE=10000
SAVES = int(os.environ.get("POSTERN_SAVES", "60"))
SESSIONS = int(os.environ.get("POSTERN_SESSIONS", "10"))
LIVE = int(os.environ.get("POSTERN_LIVE", "1200"))
KILLS = int(os.environ.get("POSTERN_KILLS", "6"))


def interface(**values) -> dict:
    return {"connections": {"interface": values}}


def save(gateway, status=200, query="", headers=None, **values):
    got, answer = gateway.api(
        "PATCH", f"/api/v1/settings{query}", interface(**values), headers=headers
    )
    assert got == status, answer
    return answer


def revision(gateway) -> int:
    return gateway.api("GET", "/api/v1/status")[1]["revision"]


class Callers:
    """Threads that connect, are greeted and quit, for ever; what fails is kept."""

    def __init__(self, gateway, count: int, host="127.0.0.1"):
        self.failures: list[str] = []
        self.calls = queue.Queue()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(host, gateway.port), daemon=True)
            for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, host: str, port: int) -> None:
        while not self._stopping.is_set():
            try:
                with Client(host, port, timeout=10) as client:
                    client.says("QUIT").expect(221)
                self.calls.put(None)
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))
                return

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            self.calls.get(timeout=20)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(20)
        assert not self.failures, self.failures[:5]


# ---- moving ----


def test_between_overlapping_sets_there_is_no_gap():
    with Postern() as gateway:
        callers = Callers(gateway, 4)
        for address in ("all", "127.0.0.1", "loopback", "all", "loopback", "127.0.0.1", "all") * 3:
            save(gateway, address=address)
            callers.wait_for(20)
        callers.stop()


def test_who_has_connected_before_the_save_is_served_and_sessions_go_on():
    with Postern() as gateway:
        old, new = gateway.port, free_port()
        session = gateway.client()
        session.hello()
        session.starts_data()
        for _ in range(3):
            waiting = [socket.create_connection(("127.0.0.1", old), 10) for _ in range(50)]
            save(gateway, port=new)
            for client in waiting:
                assert client.recv(3) == b"220"
                client.close()
            with Client("127.0.0.1", new) as client:
                client.hello()
            old, new = new, old
        session.sends_message(make_message()).expect(250)
        session.says("QUIT").expect(221)
        with pytest.raises(OSError):  # refused when the client repeats its SYN, after a second
            socket.create_connection(("127.0.0.1", new), 10)
        shown = [x["address"] for x in gateway.api("GET", "/api/v1/status")[1]["listeners"]]
        assert f"127.0.0.1:{old}" in shown and all(x.endswith(f":{old}") for x in shown)


def test_what_cannot_be_had_is_refused_with_the_reason_and_nothing_changes():
    with Postern() as gateway, socket.create_server(("127.0.0.77", 0)) as taken:
        port = taken.getsockname()[1]
        before = revision(gateway)
        for query in ("", "?dry_run=true"):
            for values, pointer, hint in (
                ({"port": port, "address": "all"}, "port", "choose another port"),
                ({"port": port, "address": "127.0.0.77"}, "port", "choose another port"),
                ({"address": "198.51.100.7"}, "address", "ip address"),
                ({"address": "2001:db8::7"}, "address", "ip address"),
                ({"address": "fe80::1"}, "address", "link-local"),
                ({"address": "224.0.0.1"}, "address", "multicast"),
                ({"address": "0.0.0.0"}, "address", "no address of one host"),
            ):
                status, answer = gateway.api(
                    "PATCH", f"/api/v1/settings{query}", interface(**values)
                )
                assert status in (409, 422), answer
                assert answer["errors"][0]["pointer"] == f"/connections/interface/{pointer}"
                assert hint in answer["errors"][0]["detail"], answer
        assert revision(gateway) == before
        with gateway.client() as client:
            client.hello()


def test_a_dry_run_opens_nothing():
    with Postern() as gateway:
        port = free_port()
        save(gateway, query="?dry_run=true", port=port, address="all")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), 5)
        with gateway.client() as client:
            client.hello()


def test_a_privileged_port_needs_the_right_to_it(root, tool):
    without = (tool("setpriv"), "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service")
    with Postern(wrap=without) as gateway:
        answer = save(gateway, status=409, port=25)
        assert answer["errors"][0]["pointer"] == "/connections/interface/port"
        assert "CAP_NET_BIND_SERVICE" in answer["errors"][0]["detail"]


# ---- addresses, in a network of its own ----


def test_loopback_is_the_two_addresses_and_nothing_else(root):
    with Island("192.0.2.10/24", "2001:db8::10/64") as island, Postern(
        namespace=island.name
    ) as gateway:
        for host in ("127.0.0.1", "::1"):
            island.client(host, gateway.port).close()
        for host in ("127.0.0.2", "192.0.2.10", "2001:db8::10"):
            assert island.refuses(host, gateway.port), host


def test_all_is_every_address_also_one_that_comes_later(root):
    with Island("192.0.2.10/24") as island, Postern(
        namespace=island.name, settings=interface(address="all")
    ) as gateway:
        for host in ("127.0.0.1", "::1", "127.0.0.9", "192.0.2.10"):
            island.client(host, gateway.port).close()
        for address in ("192.0.2.11/24", "2001:db8::11/64"):
            island.add(address)
            host = address.partition("/")[0]
            # The kernel takes a moment to have a new IPv6 address.
            gateway.wait_until(lambda h=host: not island.refuses(h, gateway.port), f"{host} serves")


def test_one_address_is_that_one(root):
    with Island("192.0.2.10/24", "2001:db8::10/64") as island, Postern(
        namespace=island.name
    ) as gateway:
        for address, others in (
            ("192.0.2.10", ("127.0.0.1", "2001:db8::10", "::1")),
            ("2001:db8::10", ("127.0.0.1", "192.0.2.10", "::1")),
        ):
            save(gateway, address=address)
            island.client(address, gateway.port).close()
            for other in others:
                assert island.refuses(other, gateway.port), other


@pytest.mark.parametrize("address", ["loopback", "all"])
def test_a_host_without_ipv6_is_served_on_ipv4(root, address):
    with Island("192.0.2.10/24", ipv6=False) as island, Postern(
        namespace=island.name, settings=interface(address=address)
    ) as gateway:
        island.client("127.0.0.1", gateway.port).close()
        assert gateway.api("GET", "/api/v1/status")[1]["health"] != "red"
        answer = save(gateway, status=422, address="::1")
        assert answer["errors"][0]["pointer"] == "/connections/interface/address"


def test_an_address_that_is_missing_at_the_start_is_taken_when_it_comes(root):
    with Island("192.0.2.10/24") as island, Postern(
        namespace=island.name, settings=interface(address="192.0.2.10")
    ) as gateway:
        assert gateway.stop() == 0
        island.remove("192.0.2.10/24")
        gateway.start(apply=False, ready=False)

        def red():
            try:
                return gateway.api("GET", "/api/v1/status")[1]["health"] == "red"
            except OSError:
                return False

        gateway.wait_until(red, "the status is red")
        island.add("192.0.2.10/24")
        gateway.wait_until_ready()
        island.client("192.0.2.10", gateway.port).close()


def test_the_addresses_of_this_host_are_listed(root):
    with Island("192.0.2.10/24", "2001:db8::10/64") as island, Postern(
        namespace=island.name
    ) as gateway:
        items = gateway.api("GET", "/api/v1/interfaces")[1]["items"]
        by_address = {item["address"]: item for item in items}
        assert by_address["192.0.2.10"] | {"x": 0} == {
            "address": "192.0.2.10",
            "prefix": 24,
            "family": "ipv4",
            "interface": "one",
            "scope": "global",
            "loopback": False,
            "selectable": True,
            "x": 0,
        }
        assert by_address["2001:db8::10"]["family"] == "ipv6"
        assert by_address["::1"]["scope"] == "host"
        local = [item for item in items if item["address"].startswith("fe80:")]
        assert local and all(x["scope"] == "link" and not x["selectable"] for x in local)


# ---- how many ----


def test_the_limit_is_exact_over_all_loops_and_sources():
    with Postern(settings=interface(max_connections=40)) as gateway:
        results: queue.Queue = queue.Queue()

        def connect(number: int) -> None:
            client = Client(
                "127.0.0.1", gateway.port, source=f"127.0.{number}.7", greeting=None
            )
            results.put((client, client.reply().code))

        threads = [threading.Thread(target=connect, args=(n,)) for n in range(120)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        got = [results.get() for _ in threads]
        assert sorted(code for _, code in got) == [220] * 40 + [421] * 80
        save(gateway, max_connections=1)
        for client, code in got:
            if code == 220:
                client.says("NOOP").expect(250)
            client.close()


def test_what_the_system_allows_is_shown_and_kept(root, tool):
    limited = (tool("prlimit"), "--nofile=200:200")
    with Sink() as sink, Postern(sink, wrap=limited) as gateway:
        allowed = gateway.api("GET", "/api/v1/status")[1]["sessions"]
        assert allowed["limit"] is None and allowed["system_limit"] == 88
        assert "as the system allows" in gateway.cli("status")
        clients = [gateway.client() for _ in range(88)]
        for _ in range(40):
            with gateway.client(greeting=None) as surplus:
                surplus.expect(421, "4.3.2")
                surplus.expect_closed()
        clients[0].hello()
        clients[0].delivers(make_message())  # deliveries have descriptors left
        sink.wait_for(1)
        save(gateway, max_connections=100000)
        warnings = gateway.api("GET", "/api/v1/status")[1]["warnings"]
        assert any("max_connections" in w["text"] and w["remedy"] for w in warnings)
        assert gateway.api("GET", "/api/v1/status")[1]["health"] == "yellow"


# ---- live sessions ----


def test_rules_that_refuse_a_live_client_end_it_after_its_message():
    with Postern() as gateway:
        busy, idle = gateway.client(), gateway.client()
        for client in (busy, idle):
            client.hello()
        busy.starts_data().sends(b"Subject: x\r\n\r\n")
        gateway.api(
            "PATCH", "/api/v1/settings", {"connections": {"control": {"deny_list": ["127.0.0.1"]}}}
        )
        with gateway.client(greeting=None) as late:
            late.expect(554, "5.7.1")
        busy.sends(b"text\r\n.\r\n").expect(250)
        for client in (busy, idle):
            assert " [ref " in client.says("NOOP").expect(421, "4.7.0").text
            client.expect_closed()


def test_live_connections_are_listed_shown_and_disconnected():
    with Postern() as gateway:
        idle, busy = gateway.client(), gateway.client(source="127.0.0.2")
        idle.hello("idle.example")
        busy.hello("busy.example")
        busy.starts_data().sends(b"Subject: x\r\n\r\n")
        rows = gateway.json("connections", "list")["items"]
        assert [row["helo"] for row in rows] == ["idle.example", "busy.example"]
        gateway.wait_until(
            lambda: gateway.json("connections", "show", rows[1]["id"])["state"]
            == "receiving content",
            "it is in DATA",
        )
        assert rows[0]["state"] == "waiting for a command"
        assert rows[1]["client"] == "127.0.0.2" and rows[1]["tls"] is None
        only = gateway.json("connections", "list", "--address", "127.0.0.2/32")
        assert [row["id"] for row in only["items"]] == [rows[1]["id"]]
        out = gateway.cli("connections", "disconnect", rows[0]["id"], rows[1]["id"])
        assert "disconnected" in out and "ends with its next command" in out
        idle.expect(421, "4.3.2")
        idle.expect_closed()
        busy.sends(b"text\r\n.\r\n").expect(250)
        busy.says("NOOP").expect(421, "4.3.2")
        with gateway.client() as third:
            third.hello()
            third.starts_data()
            last = gateway.json("connections", "list")["items"][-1]["id"]
            gateway.cli("connections", "disconnect", "--now", last)
            third.expect(421, "4.3.2")
            third.expect_closed()
        assert "no connection" in gateway.cli("connections", "show", last, status=1)
        audit = gateway.api("GET", "/api/v1/audit?action=connection.disconnect")[1]
        assert audit["total"] >= 3


def test_very_many_are_listed_over_pages():
    with Postern() as gateway:
        sockets = [socket.create_connection(("127.0.0.1", gateway.port), 20) for _ in range(LIVE)]
        gateway.wait_until(
            lambda: gateway.api("GET", "/api/v1/status")[1]["sessions"]["now"] == LIVE, "all in", 60
        )
        begun = time.monotonic()
        rows = gateway.json("connections", "list")
        print(f"{LIVE} connections listed in {time.monotonic() - begun:.3f} s")
        assert rows["total"] == len({row["id"] for row in rows["items"]}) == LIVE
        for s in sockets:
            s.close()


# ---- many saves ----


def resident(gateway) -> int:
    """KiB of the gateway's process."""
    with open(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children") as file:
        for pid in file.read().split():
            with open(f"/proc/{pid}/status") as status:
                text = status.read()
            with open(f"/proc/{pid}/cmdline") as line:
                if "gateway" in line.read():
                    return int(text.partition("VmRSS:")[2].split()[0])
    raise AssertionError("no gateway process")


class Senders:
    """Sessions that send message after message; none may fail."""

    def __init__(self, port: int, count: int):
        self.failures: list[str] = []
        self.sent = [0] * count
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(port, n), daemon=True) for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, port: int, number: int) -> None:
        message = make_message(f"of {number}")
        try:
            with smtplib.SMTP(
                "127.0.0.1", port, local_hostname="load.example", timeout=30
            ) as client:
                while not self._stopping.wait(0.001 * len(self.sent)):
                    client.sendmail("a@source.example", ["b@sink.example"], message)
                    self.sent[number] += 1
        except (OSError, smtplib.SMTPException) as error:
            self.failures.append(repr(error))

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
        assert not self.failures, self.failures[:5]
        assert all(self.sent), self.sent


def test_saves_in_a_row_under_load_are_seen_by_no_session():
    with Sink() as sink, Postern(sink) as gateway:
        senders, callers = Senders(gateway.port, SESSIONS), Callers(gateway, 2)
        visible = []
        for n in range(SAVES):
            address = ("loopback", "all", "127.0.0.1")[n % 3]
            greeting = f"number {n}"
            patch = {"identity": {"greeting": greeting}, **interface(address=address)}
            begun = time.monotonic()
            status, answer = gateway.api("PATCH", "/api/v1/settings", patch)
            assert status == 200, answer
            # In force once it is answered: nobody is greeted by the former one.
            with Client("127.0.0.1", gateway.port, timeout=30) as client:
                visible.append(time.monotonic() - begun)
                assert greeting in client.greeting.text
        callers.stop()
        senders.stop()
        visible.sort()
        print(
            f"{SAVES} saves under {SESSIONS} sessions, {sum(senders.sent)} messages: visible after"
            f" {visible[len(visible) // 2] * 1000:.1f} ms (median),"
            f" {visible[-1 - len(visible) // 100] * 1000:.1f} ms (99 %)"
        )
        gateway.settle()


def test_saves_in_a_row_take_no_memory():
    with Postern() as gateway:
        sizes = []
        for n in range(8 * SAVES):
            save(
                gateway,
                address=("loopback", "all", "127.0.0.1")[n % 3],
                idle_timeout_minutes=5 + n % 1000,
            )
            sizes.append(resident(gateway))
        print(f"{len(sizes)} saves: {sizes[0]}, {sizes[len(sizes) // 2]}, {sizes[-1]} KiB")
        # The database's cache of 2 MB fills.
        assert sizes[-1] - sizes[len(sizes) // 2] < 4096


def test_two_administrators_do_not_overwrite_each_other():
    with Postern() as gateway:
        tag = {"If-Match": f'"{revision(gateway)}"'}
        save(gateway, headers=tag, idle_timeout_minutes=7)
        save(gateway, status=412, headers=tag, idle_timeout_minutes=8)
        shown = gateway.api("GET", "/api/v1/settings")[1]
        assert shown["connections"]["interface"]["idle_timeout_minutes"] == 7
        outcomes: queue.Queue = queue.Queue()
        tag = {"If-Match": f'"{revision(gateway)}"'}

        def one(minutes: int) -> None:
            outcomes.put(
                gateway.api(
                    "PATCH",
                    "/api/v1/settings",
                    interface(idle_timeout_minutes=minutes),
                    headers=tag,
                )[0]
            )

        threads = [threading.Thread(target=one, args=(n,)) for n in range(10, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes.get() for _ in threads) == [200] + [412] * 9


def test_a_kill_in_the_middle_of_a_save_leaves_the_old_or_the_new():
    rng = random.Random(2525)
    with Postern() as gateway:
        number = 10
        for _ in range(KILLS):
            answered = threading.Event()
            acknowledged = [number]

            def saving(start=number, acknowledged=acknowledged, answered=answered) -> None:
                for n in range(start + 1, start + 1000):
                    patch = {
                        "identity": {"greeting": f"number {n}"},
                        "message_rules": {"max_recipients": n},
                    }
                    try:
                        if gateway.api("PATCH", "/api/v1/settings", patch)[0] != 200:
                            return
                    except (OSError, ConversationError, ValueError):
                        return
                    acknowledged[0] = n
                    answered.set()

            thread = threading.Thread(target=saving, daemon=True)
            thread.start()
            assert answered.wait(20)
            answered.wait()
            threading.Event().wait(rng.random() * 0.05)  # where the kill falls
            gateway.kill()
            thread.join(20)
            gateway.start(apply=False)
            document = gateway.api("GET", "/api/v1/settings")[1]
            number = document["message_rules"]["max_recipients"]
            assert document["identity"]["greeting"] == f"number {number}"
            assert number in (acknowledged[0], acknowledged[0] + 1)
            with gateway.client() as client:
                assert f"number {number}" in client.greeting.text
