"""Where mail goes, and how: what a route says beyond its next hops."""

import contextlib
import json
import sys

import pytest

from lib import (
    CLOSE,
    ROOT,
    Hop,
    Island,
    Names,
    Postern,
    make_message,
    read_notice,
    split_trace,
    temporary_folder,
)

sys.path.insert(0, str(ROOT / "bench"))
import peers

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


# ---- LMTP ----


def states(gateway) -> dict[str, str]:
    return {r["address"]: r["state"] for m in gateway.queue() for r in m["recipients"]}


def lmtp(store, senders) -> dict:
    """Mail for store.example goes to the store; all other, so the notices, to `senders`."""
    return routes(route(store, "store.example", protocol="lmtp"), route(senders))


def test_each_recipient_of_a_store_has_an_answer_of_its_own():
    answers = {
        "RCPT": lambda hop, line: "550 5.1.1 no such user" if "<nobody@" in line else None,
        ".": lambda hop, address: {
            "full@store.example": "452 4.2.2 mailbox full",
            "never@store.example": "554 5.7.1 not this",
        }.get(address),
    }
    with Hop(answers, lmtp=True, extensions=("PIPELINING", "8BITMIME")) as store, Hop() as senders:
        with Postern(settings=lmtp(store, senders)) as gateway:
            names = ("b", "nobody", "full", "never", "c")
            with gateway.client() as client:
                client.hello()
                client.says("MAIL FROM:<a@source.example>").expect(250)
                for name in names:
                    client.says(
                        f"RCPT TO:<{name}@store.example> NOTIFY=SUCCESS,FAILURE"
                    ).expect(250)
                client.says("DATA").expect(354)
                client.sends(b"Subject: x\r\n\r\nhello\r\n.\r\n")
                client.expect(250)
            store.wait_for(2)
            senders.wait_for(1)
            gateway.wait_until(
                lambda: states(gateway).get("full@store.example") == "deferred", "one waits"
            )
            assert sorted(m.recipients[0] for m in store.messages) == [
                "b@store.example",
                "c@store.example",
            ]
            (notice,) = senders.messages
            told = read_notice(notice).recipients
            assert {r["Final-Recipient"].split("; ")[1]: r["Action"] for r in told} == {
                "b@store.example": "delivered",
                "c@store.example": "delivered",
                "nobody@store.example": "failed",
                "never@store.example": "failed",
            }
            waiting = gateway.api("GET", "/api/v1/status")[1]["queue"]
            assert f"127.0.0.1:{store.port}/lmtp" in [d["destination"] for d in waiting]
            store.answers = {}
            gateway.cli("queue", "retry", "--all")
            gateway.settle()
            assert [m.recipients for m in store.messages].count(["full@store.example"]) == 1
            assert len(store.messages) == 3


def test_only_those_without_an_answer_are_in_doubt():
    lost = [True]

    def answer(hop, address):
        if address == "b@store.example" and lost:
            lost.clear()
            return CLOSE
        return None

    with Hop({".": answer}, lmtp=True) as store, Hop() as senders:
        with Postern(settings=lmtp(store, senders)) as gateway:
            send(gateway, "a@store.example", "b@store.example", "c@store.example")

            def in_doubt():
                found = states(gateway)
                return found if "in_doubt" in found.values() else None

            found = gateway.wait_until(in_doubt, "the connection was lost")
            assert found["b@store.example"] == found["c@store.example"] == "in_doubt"
            assert found.get("a@store.example", "delivered") == "delivered"
            gateway.cli("queue", "retry", "--all")
            gateway.settle()
            kept = [m.recipients[0] for m in store.messages]
            assert sorted(kept) == ["a@store.example", "b@store.example", "c@store.example"]


def test_many_messages_follow_each_other_on_an_lmtp_connection():
    busy = {".": lambda hop, address: "450 4.2.1 busy" if address.startswith("busy") else None}
    with Hop(busy, lmtp=True, extensions=("PIPELINING", "CHUNKING")) as store, Hop() as senders:
        with Postern(settings=lmtp(store, senders)) as gateway:
            with gateway.client() as client:
                client.hello()
                for n in range(40):
                    client.delivers(
                        make_message(f"number {n}"),
                        f"s{n}@source.example",
                        f"a{n}@store.example",
                        f"busy{n}@store.example",
                        f"c{n}@store.example",
                    )
            store.wait_for(80)
            gateway.wait_until(
                lambda: list(states(gateway).values()).count("deferred") == 40, "40 wait"
            )
            for message in store.messages:
                number = message.recipients[0].partition("@")[0][1:]
                assert message.reverse_path == f"s{number}@source.example"
                assert f"number {number}".encode() in message.content
            assert store.sessions < 40
            store.answers = {}
            gateway.cli("queue", "retry", "--all")
            gateway.settle()
            assert len(store.messages) == 120


def test_dovecot_is_served_by_lmtp(root):
    """A real mail store: an unknown user, one whose mailbox cannot be written, and octets."""
    dots, long = b".\r\n..\r\n.x\r\n", b"x" * 900 + b"\r\n"
    bodies = [b"hello\r\n", dots, "Grüße\r\n".encode() * 50, long]
    messages = [make_message(f"number {n}", body=body) for n, body in enumerate(bodies)]
    with temporary_folder() as folder, Hop() as senders:
        folder.chmod(0o755)
        with peers.Dovecot(
            folder / "dovecot", users=("anna", "berta"), broken=("broken",)
        ) as store, Postern(settings=lmtp(store, senders)) as gateway:
            with gateway.client() as client:
                client.hello()
                for message in messages:
                    client.delivers(
                        message,
                        "a@source.example",
                        "anna@store.example",
                        "nobody@store.example",
                        "broken@store.example",
                        "berta@store.example",
                        parameters=" BODY=8BITMIME",
                    )
            senders.wait_for(len(messages))
            gateway.wait_until(
                lambda: [
                    r["state"]
                    for m in gateway.queue()
                    for r in m["recipients"]
                    if r["address"] == "broken@store.example"
                ]
                == ["deferred"] * len(messages),
                "the broken mailbox is tried again later",
            )
            for user in ("anna", "berta"):
                kept = store.kept(user)
                assert len(kept) == len(messages), user
                bare = {split_trace(after_store(octets))[1] for octets in kept}
                assert bare == set(messages)
            for notice in senders.messages:
                (told,) = read_notice(notice).recipients
                assert "nobody@store.example" in told["Final-Recipient"]
                assert told["Status"] == "5.1.1" and "User doesn't exist" in told["Diagnostic-Code"]
            assert gateway.cli("queue", "delete", "--all")


def after_store(octets: bytes) -> bytes:
    """A message of a mailbox, from our trace header on, as it went over the wire."""
    ours = octets.index(b"by gw.example")
    start = octets.rindex(b"\nReceived: ", 0, ours) + 1
    return octets[start:].replace(b"\n", b"\r\n")


# ---- what the DNS says ----


@contextlib.contextmanager
def world(records: dict, *, hops: dict[str, Hop]):
    """A gateway in a network of its own, with a name server and next hops at port 25."""
    with contextlib.ExitStack() as stack:
        island = stack.enter_context(Island("192.0.2.10/24", "2001:db8::10/64"))
        for address, hop in hops.items():
            hop.port, hop.host = 25, address
            island.run(hop.__enter__)
            stack.push(hop)
        names = Names(records)
        island.run(names.__enter__)
        stack.push(names)
        gateway = stack.enter_context(
            Postern(namespace=island.name, settings=names.settings)
        )

        def send_inside(*recipients):
            with island.client("127.0.0.1", gateway.port) as client:
                client.hello()
                client.delivers(make_message(), "", *recipients)

        gateway.send = send_inside
        yield gateway


def test_exchangers_are_tried_by_preference(root):
    first, second = Hop({"CONNECT": "421 4.3.2 not now"}), Hop()
    with world(
        {
            ("sink.example", "MX"): ["20 b.sink.example.", "10 a.sink.example."],
            ("a.sink.example", "A"): ["127.0.0.11"],
            ("b.sink.example", "A"): ["127.0.0.12"],
        },
        hops={"127.0.0.11": first, "127.0.0.12": second},
    ) as gateway:
        gateway.send("b@sink.example")
        second.wait_for(1)
        gateway.settle()
        assert first.sessions >= 1 and not first.messages


def test_without_mx_the_domain_itself_is_asked(root):
    hop = Hop()
    with world({("sink.example", "A"): ["127.0.0.11"]}, hops={"127.0.0.11": hop}) as gateway:
        gateway.send("b@sink.example")
        hop.wait_for(1)
        gateway.settle()


def test_ipv6_alone_serves(root):
    hop = Hop()
    with world({("sink.example", "AAAA"): ["2001:db8::10"]}, hops={"2001:db8::10": hop}) as gateway:
        gateway.send("b@sink.example")
        hop.wait_for(1)
        gateway.settle()
        assert hop.clients == ["2001:db8::10"]


def test_a_family_that_leads_nowhere_is_passed_over(root):
    """IPv6 first, as RFC 8305 has it; where it is silent IPv4 has the mail."""
    hop = Hop()
    with world(
        {
            ("sink.example", "A"): ["192.0.2.10"],
            ("sink.example", "AAAA"): ["2001:db8::dead"],
        },
        hops={"192.0.2.10": hop},
    ) as gateway:
        gateway.send("b@sink.example")
        hop.wait_for(1)
        gateway.settle()
        status, metrics = gateway.api("GET", "/metrics")
        assert status == 200 and "postern_delivery_connect_failures_total 1\n" in metrics, metrics


def bounced(gateway, recipient: str) -> str:
    """The reason; the sender is nobody, so there is no notice."""

    def found():
        for raw in gateway.log_octets().splitlines():
            line = json.loads(raw) if raw.startswith(b"{") else {}
            if line.get("event") == "bounced" and line.get("recipients") == recipient:
                return line["reply"]
        return None

    return gateway.wait_until(found, f"{recipient} bounced")


def test_domains_that_take_no_mail_are_told_at_once(root):
    with world(
        {
            ("null.example", "MX"): ["0 ."],
            ("null.example", "A"): ["127.0.0.11"],
            ("us.example", "MX"): ["10 gw.example.", "20 backup.example."],
            ("gw.example", "A"): ["192.0.2.10"],
            ("backup.example", "A"): ["127.0.0.11"],
        },
        hops={},
    ) as gateway:
        for domain, reason in (
            ("null.example", "5.1.10"),
            ("gone.example", "5.1.2"),
            ("us.example", "5.4.6"),
        ):
            gateway.send(f"b@{domain}")
            assert bounced(gateway, f"b@{domain}").startswith(reason)


def test_a_backup_exchanger_passes_on_to_better_ones_only(root):
    best, worse = Hop({"CONNECT": "421 4.3.2 not now"}), Hop()
    with world(
        {
            ("sink.example", "MX"): ["10 best.example.", "20 gw.example.", "30 worse.example."],
            ("best.example", "A"): ["127.0.0.11"],
            ("gw.example", "A"): ["192.0.2.10"],
            ("worse.example", "A"): ["127.0.0.12"],
        },
        hops={"127.0.0.11": best, "127.0.0.12": worse},
    ) as gateway:
        gateway.send("b@sink.example")
        (recipient,) = put_off(gateway)
        assert "not now" in recipient["reply"]
        assert worse.sessions == 0
        best.answers = {}
        gateway.cli("queue", "retry", "--all")
        best.wait_for(1)
        gateway.settle()


def test_trouble_with_the_dns_defers(root):
    with world({("sick.example", "MX"): "SERVFAIL"}, hops={}) as gateway:
        gateway.send("b@sick.example")
        (recipient,) = put_off(gateway)
        assert recipient["reply"].startswith("4.4.3 ") and "SERVFAIL" in recipient["reply"]
