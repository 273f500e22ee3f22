"""Mail that finds its way by the DNS: a world of zones of the test's own, in a network of its own."""

import contextlib
import threading

import pytest

from lib import TRUNCATED, Hop, Island, Knot, Names, Postern, Zone, make_message, read_notice

pytestmark = pytest.mark.asan

NOTICES = "127.0.0.9"


class World:
    """An island with a name server, next hops on port 25 and a gateway that asks the DNS. What goes
    back to senders in source.test arrives at `notices`."""

    def __init__(
        self,
        zones: dict,
        *,
        names: Names | None = None,
        hops: dict | None = None,
        settings: dict | None = None,
        resolv_conf: str | None = None,
    ):
        self.resolv_conf = resolv_conf
        self.names = names
        self.zones, self.settings = {"": Zone("ns.test. 60 A 127.0.0.53"), **zones}, settings or {}
        self.hops = {address: Hop() if h is None else h for address, h in (hops or {}).items()}
        self.notices = Hop()

    def __enter__(self) -> "World":
        self._stack = contextlib.ExitStack()
        try:
            self.island = self._stack.enter_context(
                Island("192.0.2.10/24", "2001:db8::10/64", resolv_conf=self.resolv_conf)
            )
            for address, hop in {NOTICES: self.notices, **self.hops}.items():
                self.listen(address, hop)
            if self.names:
                self.island.run(self.names.__enter__)
                self._stack.push(self.names)
            else:
                self.knot = self._stack.enter_context(
                    Knot(self.zones, namespace=self.island.name)
                )
            self.gateway = self._stack.enter_context(
                Postern(
                    namespace=self.island.name,
                    settings={
                        **(self.names or self.knot).settings,
                        "delivery": {
                            "routes": [
                                {
                                    "domain": "source.test",
                                    "next_hops": [{"host": NOTICES, "port": 25}],
                                },
                                {"domain": "*", "via": "mx"},
                            ]
                        },
                        **self.settings,
                    },
                )
            )
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc) -> None:
        self._stack.__exit__(*exc)

    def listen(self, address: str, hop: Hop) -> Hop:
        hop.host, hop.port = address, 25
        self.island.run(hop.__enter__)
        self._stack.push(hop)
        return hop

    def send(self, *recipients: str, sender: str = "a@source.test") -> None:
        with self.island.client("127.0.0.1", self.gateway.port) as client:
            client.hello()
            client.delivers(make_message(), sender, *recipients)

    def notice_of(self, recipient: str, number: int = 0):
        """What the sender is told of this recipient."""
        self.send(recipient)
        self.notices.wait_for(number + 1)
        (told,) = read_notice(self.notices.messages[number]).recipients
        assert told["Final-Recipient"].endswith(recipient)
        return told

    def set_resolver(self, **settings) -> None:
        status, answer = self.gateway.api("PATCH", "/api/v1/settings", {"resolver": settings})
        assert status == 200, answer

    def warnings(self) -> list[dict]:
        """What the status has to say about the DNS."""
        warnings = self.gateway.api("GET", "/api/v1/status")[1]["warnings"]
        return [w for w in warnings if "the DNS" in w["text"]]

    def deferral_of(self, recipient: str) -> dict:
        """The recipient as the queue has it, once it was tried."""

        def tried():
            for message in self.gateway.queue():
                for r in message["recipients"]:
                    if r["address"] == recipient and r.get("reply"):
                        return r
            return None

        found = self.gateway.wait_until(tried, f"{recipient} was tried", 60)
        assert found["state"] == "deferred"
        return found


# ---- exchangers ----


def test_the_best_exchanger_is_tried_first_and_then_the_next(root):
    with World(
        {"good.test": Zone("@ 60 MX 30 c\n@ 60 MX 10 a\n@ 60 MX 20 b\n"
                           "a 60 A 127.0.0.11\nb 60 A 127.0.0.12\nc 60 A 127.0.0.13")},
        hops={"127.0.0.11": Hop({"CONNECT": "421 4.3.2 not now"}), "127.0.0.12": None,
              "127.0.0.13": None},
    ) as world:
        world.send("b@good.test")
        world.hops["127.0.0.12"].wait_for(1)
        world.gateway.settle()
        assert world.hops["127.0.0.11"].sessions >= 1
        assert world.hops["127.0.0.13"].sessions == 0


def test_exchangers_of_one_preference_share_the_mail(root):
    """Each domain is a destination of its own, with connections of its own."""
    names = "\n".join(f"d{n} 60 MX 10 a\nd{n} 60 MX 10 b" for n in range(30))
    with World(
        {"good.test": Zone(names + "\na 60 A 127.0.0.11\nb 60 A 127.0.0.12")},
        hops={"127.0.0.11": None, "127.0.0.12": None},
    ) as world:
        world.send(*(f"b@d{n}.good.test" for n in range(30)))
        world.gateway.settle()
        shares = [len(hop.messages) for hop in world.hops.values()]
        assert sum(shares) == 30 and min(shares) >= 1, shares


def test_without_exchangers_mail_goes_to_the_domain_itself(root):
    with World(
        {"good.test": Zone("four 60 A 127.0.0.11\nsix 60 AAAA ::1\nboth 60 A 127.0.0.11\n"
                           "both 60 AAAA 2001:db8::10\n"),
         "plain.test": Zone("@ 60 A 127.0.0.11", signed=False)},
        hops={"127.0.0.11": None, "::1": None, "2001:db8::10": None},
    ) as world:
        for recipient, address in (("b@four.good.test", "127.0.0.11"), ("b@six.good.test", "::1"),
                                   ("b@both.good.test", "2001:db8::10"),
                                   ("b@plain.test", "127.0.0.11")):
            hop = world.hops[address]
            before = len(hop.messages)
            world.send(recipient)
            hop.wait_for(before + 1)
            assert hop.messages[-1].recipients == [recipient]


def test_the_domain_itself_is_not_tried_where_there_are_exchangers(root):
    with World(
        {"good.test": Zone("@ 60 A 127.0.0.11\n@ 60 MX 10 mx\nmx 60 A 127.0.0.12")},
        hops={"127.0.0.11": None},
    ) as world:
        world.send("b@good.test")
        assert "Connection refused" in world.deferral_of("b@good.test")["reply"]
        assert world.hops["127.0.0.11"].sessions == 0


def test_aliases_are_followed(root):
    """Of the domain, within its zone and into another, and (though RFC 2181 forbids it) of an
    exchanger."""
    with World(
        {"good.test": Zone("real 60 MX 10 mx\nmx 60 A 127.0.0.11\nalias 60 CNAME real\n"
                           "far 60 CNAME there.plain.test.\nchain 60 CNAME alias\n"
                           "odd 60 MX 10 mxalias\nmxalias 60 CNAME mx"),
         "plain.test": Zone("there 60 A 127.0.0.12", signed=False)},
        hops={"127.0.0.11": None, "127.0.0.12": None},
    ) as world:
        world.send("b@alias.good.test", "b@chain.good.test", "b@odd.good.test")
        world.send("b@far.good.test")
        world.hops["127.0.0.11"].wait_for(3)
        world.hops["127.0.0.12"].wait_for(1)
        world.gateway.settle()


def test_what_takes_no_mail_goes_back(root):
    with World(
        {"good.test": Zone("null 60 MX 0 .\nempty 60 TXT hello\nlost 60 MX 10 nowhere\n"
                           "circle 60 CNAME circle2\ncircle2 60 CNAME circle"),
         "plain.test": Zone("null 60 MX 0 .", signed=False)},
    ) as world:
        for number, (recipient, status) in enumerate((
            ("b@null.good.test", "5.1.10"),
            ("b@null.plain.test", "5.1.10"),
            ("b@nothing.good.test", "5.1.2"),
            ("b@empty.good.test", "5.1.2"),
            ("b@lost.good.test", "5.1.2"),
            ("b@nothing.plain.test", "5.1.2"),
        )):
            assert world.notice_of(recipient, number)["Status"] == status, recipient
        world.gateway.settle()
        world.send("b@circle.good.test")  # an error of the zone, not of the address
        world.deferral_of("b@circle.good.test")


# ---- validation ----


def test_what_fails_validation_waits_and_says_why(root):
    records = "@ 60 MX 10 mx\nmx 60 A 127.0.0.11"
    with World(
        {"good.test": Zone(records),
         "old.test": Zone(records, signed_days_ago=60),
         "forged.test": Zone(records, changed=("A\t127.0.0.11", "A\t127.0.0.66")),
         "moved.test": Zone(records, changed=("MX\t10 mx", "MX\t10 elsewhere")),
         "island.test": Zone(records, delegated=False),
        },
        hops={"127.0.0.11": None, "127.0.0.66": None},
    ) as world:
        world.send("b@good.test")
        world.hops["127.0.0.11"].wait_for(1)
        for recipient, reason in (
            ("b@old.test", "signature expired"),
            ("b@forged.test", "signature verification failed"),
            ("b@moved.test", "signature verification failed"),
            ("b@island.test", "for DS island.test."),
        ):
            world.send(recipient)
            reply = world.deferral_of(recipient)["reply"]
            assert reply.startswith("4.4.3 ") and "validation failure" in reply and reason in reply
            (ID,) = [m["id"] for m in world.gateway.queue() if reply in str(m)]
            assert reason in world.gateway.cli("queue", "show", ID)
            assert reason in world.gateway.log()
        assert not world.hops["127.0.0.66"].sessions and not world.notices.sessions


def test_without_validation_nothing_is_bogus(root):
    records = "@ 60 MX 10 mx\nmx 60 A 127.0.0.11"
    with World({"old.test": Zone(records, signed_days_ago=60)}, hops={"127.0.0.11": None}) as world:
        world.send("b@old.test")
        world.deferral_of("b@old.test")
        world.set_resolver(trust_anchor="none")
        world.gateway.cli("queue", "retry", "--all")
        world.hops["127.0.0.11"].wait_for(1)


def test_with_the_anchor_of_the_root_a_private_server_is_bogus(root):
    with World({"plain.test": Zone("@ 60 A 127.0.0.11", signed=False)},
               hops={"127.0.0.11": None}) as world:
        world.set_resolver(trust_anchor=None)
        for n in range(3):
            world.send(f"b@x{n}.plain.test")
            assert "validation failure" in world.deferral_of(f"b@x{n}.plain.test")["reply"]
        (warning,) = world.warnings()
        assert "validation failure" in warning["text"] and '"none"' in warning["remedy"]
        assert world.gateway.api("GET", "/api/v1/status")[1]["health"] == "yellow"
        world.set_resolver(trust_anchor="none")
        world.gateway.wait_until(lambda: not world.warnings(), "all is well")
        world.send("b@plain.test")
        world.hops["127.0.0.11"].wait_for(1)


# ---- trouble ----


def test_what_cannot_be_answered_now_waits(root):
    """A failure is of the moment, whichever it is: mail waits, and nothing comes back."""
    records = {
        ("fails.example", "MX"): "SERVFAIL",
        ("refuses.example", "MX"): "REFUSED",
        ("odd.example", "MX"): "NOTIMP",
        ("silent.example", "MX"): None,
        ("half.example", "MX"): ["10 mx.half.example."],
        ("mx.half.example", "A"): "SERVFAIL",
        ("mx.half.example", "AAAA"): "SERVFAIL",
        ("long.example", "MX"): TRUNCATED,
    }
    names = [name for name, kind in records if kind == "MX"]
    with World({}, names=Names(records)) as world:
        world.send(*(f"b@{name}" for name in names))
        for name in names:
            reply = world.deferral_of(f"b@{name}")["reply"]
            assert reply.startswith("4.4.3 ") and name in reply and "SERVFAIL" in reply
        assert not world.notices.sessions


def test_one_exchanger_that_cannot_be_found_leaves_the_others(root):
    records = {
        ("two.example", "MX"): ["10 silent.two.example.", "20 b.two.example."],
        ("silent.two.example", "A"): None,
        ("silent.two.example", "AAAA"): None,
        ("b.two.example", "A"): ["127.0.0.12"],
        ("four.example", "MX"): ["10 mx.four.example."],
        ("mx.four.example", "A"): ["127.0.0.12"],
        ("mx.four.example", "AAAA"): "SERVFAIL",
    }
    with World({}, names=Names(records), hops={"127.0.0.12": None}) as world:
        world.send("b@two.example", "b@four.example")
        world.hops["127.0.0.12"].wait_for(2, 60)
        world.gateway.settle()


def test_large_answers_are_read(root):
    """Hundreds of exchangers, and hundreds of addresses of one: by TCP, the best are used."""
    many = "".join(f"many 60 MX {100 + n % 50} x{n}.hosts.test.\n" for n in range(400))
    many += "many 60 MX 5 best.hosts.test.\nwide 60 MX 10 crowd.hosts.test.\n"
    hosts = "best 60 A 127.0.0.11\n" + "".join(
        f"crowd 60 A 127.0.0.{n}\ncrowd 60 AAAA 2001:db8::1:{n:x}\n" for n in range(20, 250)
    )
    hops = {"127.0.0.11": None, **{f"127.0.0.{n}": None for n in range(20, 250)}}
    with World({"good.test": Zone(many), "hosts.test": Zone(hosts)}, hops=hops) as world:
        world.send("b@many.good.test", "b@wide.good.test")
        world.hops["127.0.0.11"].wait_for(1)
        world.gateway.settle()
        assert sum(len(hop.messages) for hop in world.hops.values()) == 2


def test_names_of_any_form_are_found(root):
    """As long as a name may be, and not in ASCII."""
    label = "l" * 63
    long = ".".join([label, label, label, "l" * 50, "good", "test"])
    assert len(long) == 252  # with "<b@" and ">" as long as a path may be
    with World(
        {"good.test": Zone(f"{long}. 60 MX 10 mx\nmx 60 A 127.0.0.11\n"
                           "xn--bcher-kva 60 MX 10 mx\nUPPER 60 MX 10 MX\n_under 60 MX 10 mx")},
        hops={"127.0.0.11": None},
    ) as world:
        for n, domain in enumerate((long, "xn--bcher-kva.good.test", "upper.GOOD.test")):
            world.send(f"b@{domain}")
            world.hops["127.0.0.11"].wait_for(n + 1)
        with world.island.client("127.0.0.1", world.gateway.port) as client:
            client.hello()
            client.delivers(make_message(), "a@source.test", "b@b\u00fccher.good.test",
                            parameters=" SMTPUTF8")
        world.hops["127.0.0.11"].wait_for(4)


# ---- a server that dies, and others ----


def test_a_resolver_that_died_is_told_and_comes_back(root):
    """Mail that needs it waits and the status says so; other mail goes on, across a start too."""
    with World(
        {"good.test": Zone("@ 60 MX 10 mx\nmx 60 A 127.0.0.11")}, hops={"127.0.0.11": None}
    ) as world:
        gateway = world.gateway
        world.knot.stop()
        world.send("b@good.test")
        assert "good.test" in world.deferral_of("b@good.test")["reply"]
        (warning,) = gateway.wait_until(world.warnings, "the status says it", 60)
        assert "127.0.0.53" in warning["text"] and "resolver.servers" in warning["remedy"]
        assert gateway.api("GET", "/api/v1/status")[1]["health"] == "red"
        gateway.wait_until(lambda: "the DNS does not answer: 127.0.0.53" in gateway.log(), "logged")
        world.send("b@source.test", sender="")
        world.notices.wait_for(1)

        gateway.restart()
        world.send("c@source.test", sender="")
        world.notices.wait_for(2)
        gateway.cli("queue", "retry", "--all")
        gateway.wait_until(world.warnings, "the status says it again", 60)

        world.knot.start()
        gateway.wait_until(lambda: not world.warnings(), "it answers again", 60)
        assert gateway.api("GET", "/api/v1/status")[1]["health"] != "red"
        gateway.cli("queue", "retry", "--all")
        world.hops["127.0.0.11"].wait_for(1, 60)
        gateway.settle()


def test_other_servers_by_save_lose_nothing(root):
    """Settings change again and again between servers, one of them silent, under load."""
    count = 150
    zone = "".join(f"d{n} 60 MX 10 mx\n" for n in range(count)) + "mx 60 A 127.0.0.11"
    with World({"good.test": Zone(zone)}, hops={"127.0.0.11": None}) as world:
        stop = threading.Event()
        saves: list[int] = []

        def save() -> None:
            servers = [["127.0.0.53"], ["127.0.0.53@53", "127.0.0.54"], ["127.0.0.54"]]
            while not stop.is_set():
                world.set_resolver(servers=servers[len(saves) % 3])
                saves.append(1)

        saving = threading.Thread(target=save)
        saving.start()
        try:
            for n in range(0, count, 5):
                world.send(*(f"b@d{k}.good.test" for k in range(n, n + 5)))
        finally:
            world.gateway.wait_until(lambda: len(saves) >= 20, "it was saved often", 60)
            stop.set()
            saving.join()
        world.set_resolver(servers=["127.0.0.53"])

        def all_there() -> bool:
            world.gateway.cli("queue", "retry", "--all")
            return len(world.hops["127.0.0.11"].messages) >= count

        world.gateway.wait_until(all_there, "all arrived", 120)
        world.gateway.settle()
        recipients = [r for m in world.hops["127.0.0.11"].messages for r in m.recipients]
        assert sorted(recipients) == sorted(f"b@d{n}.good.test" for n in range(count))
        assert not world.notices.sessions


def test_an_ipv6_server_with_a_port_is_asked(root):
    names = Names({("good.example", "A"): ["127.0.0.11"]}, host="::1")
    with World({}, names=names, hops={"127.0.0.11": None}) as world:
        assert names.server.startswith("::1@")
        world.send("b@good.example")
        world.hops["127.0.0.11"].wait_for(1)


def test_the_servers_of_the_system_are_followed(root):
    """Empty `servers` are those of resolv.conf, and those of tomorrow when it changes."""
    with World(
        {"good.test": Zone("a 60 A 127.0.0.11\nb 60 A 127.0.0.11")},
        hops={"127.0.0.11": None}, resolv_conf="nameserver 127.0.0.54\n",
    ) as world:
        world.set_resolver(servers=[])
        world.send("b@a.good.test")
        world.deferral_of("b@a.good.test")
        world.island.resolv_conf.write_text("search test\nnameserver 127.0.0.53\n")

        def arrived() -> bool:
            world.gateway.cli("queue", "retry", "--all")
            return len(world.hops["127.0.0.11"].messages) == 1

        world.gateway.wait_until(arrived, "it is noticed", 60)
