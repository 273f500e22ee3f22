"""Who may send to any domain: the four ways of permitted_relay, on a network of the test's own, and
that addresses which come and go count at once."""

import pytest

from lib import Island, Neighbour, Postern

OWN = ("172.16.5.10", "fd00:5::10")  # on the interface; loopback is the host's too
LOOPBACK = ("127.0.0.1", "127.9.9.9", "::1")
SUBNET = ("172.16.5.99", "fd00:5::99")
SAME_CLASS = ("172.16.200.9",)  # class B: 172.16.0.0/16
OTHERS = ("172.17.1.1", "172.160.5.10", "10.16.5.10", "fd00:6::99")
EVERYBODY = (*OWN, *LOOPBACK, *SUBNET, *SAME_CLASS, *OTHERS)

MODES = {
    "host_only": (*OWN, *LOOPBACK),
    "same_subnet": (*OWN, *LOOPBACK, *SUBNET),
    "same_class": (*OWN, *LOOPBACK, *SUBNET, *SAME_CLASS),
    "specified": ("172.17.1.1", "172.160.5.10", "fd00:6::99"),
}
NETWORKS = ["172.17.1.1", "172.160.0.0:255.255.0.0", "fd00:6::/64"]
ALL = {"connections": {"interface": {"address": "all"}}}


def permitted(hosts: str) -> dict:
    return {"message_rules": {"permitted_relay": {"hosts": hosts, "networks": NETWORKS}}}


class Place:
    """A gateway on an island, and clients on both sides of the strait."""

    def __init__(self, island: Island, neighbour: Neighbour, gateway: Postern):
        self.island, self.neighbour, self.gateway = island, neighbour, gateway

    def client(self, source: str):
        inside = source in OWN or source in LOOPBACK or source in ("172.17.1.5", "fd00:6::5")
        host = OWN[1] if ":" in source else OWN[0]
        if source in LOOPBACK:
            host = "::1" if ":" in source else "127.0.0.1"
        where = self.island if inside else self.neighbour
        client = where.client(host, self.gateway.port, source=source)
        self.gateway.clients.append(client)
        return client

    def says(self, source: str) -> int:
        """The reply to RCPT for a domain that is none of ours, which an explanation foretells."""
        status, told = self.gateway.api(
            "POST", "/api/v1/explain", {"address": source, "to": "b@elsewhere.example"}
        )
        assert status == 200, told
        with self.client(source) as client:
            client.hello()
            client.says("MAIL FROM:<a@source.example>").expect(250)
            reply = client.says("RCPT TO:<b@elsewhere.example>").reply()
            client.says("QUIT").expect(221)
        self.gateway.clients.pop()
        assert told["reply"]["code"] == reply.code, (source, told)
        assert reply.code == 250 or reply.enhanced == "5.7.1"
        return reply.code


@pytest.fixture
def place(root):
    with (
        Island("172.16.5.10/24", "fd00:5::10/64") as island,
        Neighbour(island, *SUBNET, *SAME_CLASS, *OTHERS) as neighbour,
        Postern(settings=ALL, namespace=island.name) as gateway,
    ):
        yield Place(island, neighbour, gateway)


def test_the_four_ways_of_permitted_relay(place):
    for hosts, allowed in MODES.items():
        status, answer = place.gateway.api("PATCH", "/api/v1/settings", permitted(hosts))
        assert status == 200, answer
        got = {source for source in EVERYBODY if place.says(source) == 250}
        assert got == set(allowed), hosts


def test_addresses_that_come_and_go_count_without_a_save(place):
    gateway = place.gateway

    def told(source: str) -> str:
        ask = {"address": source, "to": "b@elsewhere.example"}
        return gateway.api("POST", "/api/v1/explain", ask)[1]["decision"]

    def becomes(source: str, decision: str) -> None:
        gateway.wait_until(lambda: told(source) == decision, f"{source}: {decision}")
        assert place.says(source) == (250 if decision == "accept" else 550)

    revision = gateway.api("GET", "/api/v1/settings/revisions")[1]["total"]
    for hosts, near in (("host_only", "refuse"), ("same_subnet", "accept")):
        assert gateway.api("PATCH", "/api/v1/settings", permitted(hosts))[0] == 200
        before = gateway.api("GET", "/api/v1/settings/revisions")[1]["total"]
        assert told("172.17.1.1") == told("172.17.1.5") == "refuse"
        transaction = place.client("172.17.1.1")
        transaction.hello()
        transaction.says("MAIL FROM:<>").expect(250)
        place.island.add("172.17.1.5/24")
        place.island.add("fd00:6::5/64")
        becomes("172.17.1.5", "accept")
        becomes("fd00:6::5", "accept")
        becomes("172.17.1.1", near)
        # One under way keeps the rules of its MAIL.
        transaction.says("RCPT TO:<b@elsewhere.example>").expect(550)
        place.island.remove("172.17.1.5/24")
        gateway.wait_until(lambda: told("172.17.1.5") == "refuse", "it is gone")
        becomes("172.17.1.1", "refuse")
        place.island.remove("fd00:6::5/64")
        gateway.wait_until(lambda: told("fd00:6::5") == "refuse", "it is gone")
        assert gateway.api("GET", "/api/v1/settings/revisions")[1]["total"] == before
        assert told("172.16.5.10") == "accept"
    assert before == revision + 2
