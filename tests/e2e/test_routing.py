"""Where mail goes, and how: what a route says beyond its next hops."""

import contextlib

import pytest

from lib import Hop, Island, Postern, make_message

pytestmark = pytest.mark.asan


def route(hop, domain="*", **more) -> dict:
    hops = [{"host": "127.0.0.1", "port": hop.port}]
    return {"domain": domain, "next_hops": hops, **more}


def routes(*all_of_them) -> dict:
    return {"delivery": {"routes": list(all_of_them)}}


def send(gateway, *recipients, sender="a@source.example", parameters=""):
    with gateway.client() as client:
        client.hello()
        client.delivers(make_message(), sender, *recipients, parameters=parameters)


def put_off(gateway) -> list[dict]:
    """The recipients of the one message that waits, once it was tried."""

    def tried():
        items = gateway.queue()
        recipients = [r for m in items for r in m["recipients"]]
        return recipients if recipients and all(r.get("reply") for r in recipients) else None

    return gateway.wait_until(tried, "it was tried")


# ---- source ----


def test_each_route_connects_from_its_own_address():
    with Hop() as hop, Postern(
        settings=routes(
            route(hop, "one.example", source="127.0.0.11"),
            route(hop, "two.example", source="127.0.0.12"),
            route(hop),
        )
    ) as gateway:
        for domain, source in (
            ("one.example", "127.0.0.11"),
            ("two.example", "127.0.0.12"),
            ("three.example", "127.0.0.1"),
        ):
            send(gateway, f"b@{domain}")
            gateway.settle()
            assert hop.clients[-1] == source
        assert hop.sessions == 3


def test_a_source_that_is_not_here_is_refused_by_its_pointer():
    with Hop() as hop, Postern(hop) as gateway:
        for source, word in (
            ("192.0.2.77", "is not an address of this host"),
            ("2001:db8::77", "is not an address of this host"),
            ("fe80::1", "a link-local address means nothing"),
            ("0.0.0.0", "is no address of one host"),
        ):
            status, answer = gateway.api(
                "PATCH",
                "/api/v1/settings",
                routes(route(hop, "a.example"), route(hop, source=source)),
            )
            assert status == 422, answer
            assert [e["pointer"] for e in answer["errors"]] == ["/delivery/routes/1/source"]
            assert word in answer["errors"][0]["detail"]
        send(gateway, "b@sink.example")
        hop.wait_for(1)


def test_a_next_hop_of_the_other_family_is_skipped():
    with Hop() as hop, Postern(
        settings=routes(
            {
                "domain": "*",
                "next_hops": [
                    {"host": "::1", "port": hop.port},
                    {"host": "127.0.0.1", "port": hop.port},
                ],
                "source": "127.0.0.11",
            },
            {
                "domain": "six.example",
                "next_hops": [{"host": "::1", "port": hop.port}],
                "source": "127.0.0.11",
            },
        )
    ) as gateway:
        send(gateway, "b@sink.example")
        hop.wait_for(1)
        gateway.settle()
        send(gateway, "b@six.example")
        (recipient,) = put_off(gateway)
        assert "an IPv6 address cannot be reached from the route's source 127.0.0.11" in (
            recipient["reply"]
        )


def test_mail_waits_while_the_source_is_away(root):
    with contextlib.ExitStack() as stack:
        island = stack.enter_context(Island("192.0.2.10/24"))
        hop = Hop()
        island.run(hop.__enter__)
        stack.push(hop)
        gateway = stack.enter_context(
            Postern(namespace=island.name, settings=routes(route(hop, source="192.0.2.10")))
        )

        def send_inside():
            with island.client("127.0.0.1", gateway.port) as client:
                client.hello()
                client.delivers(make_message(), "a@source.example", "b@sink.example")

        send_inside()
        hop.wait_for(1)
        gateway.settle()
        assert set(hop.clients) == {"192.0.2.10"}
        gateway.wait_until(
            lambda: gateway.api("GET", "/api/v1/status")[1]["health"] != "red", "all is well"
        )

        # The connection of before ends after some seconds of rest.
        hop.wait_for_step("QUIT")
        island.remove("192.0.2.10/24")
        send_inside()
        (recipient,) = put_off(gateway)
        assert recipient["state"] == "deferred"
        assert "the route's source 192.0.2.10 is not an address of this host" in recipient["reply"]
        status = gateway.api("GET", "/api/v1/status")[1]
        assert status["health"] == "red"
        assert any("192.0.2.10" in w["text"] for w in status["warnings"]), status
        # Other changes are not held up by it.
        assert (
            gateway.api("PATCH", "/api/v1/settings", {"identity": {"greeting": "hello"}})[0] == 200
        )

        island.add("192.0.2.10/24")
        assert gateway.api("GET", "/api/v1/status")[1]["health"] != "red"
        gateway.cli("queue", "retry", "--all")
        hop.wait_for(2)
        gateway.settle()
