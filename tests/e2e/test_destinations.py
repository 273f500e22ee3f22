"""Next hops that share the mail, limits of a route, and destinations in trouble: suspended, redirected."""

import json
import sys

import pytest

from lib import CLOSE, ROOT, Hop, Names, Postern, Sink, make_message, temporary_folder
from test_routing import route, routes, send

sys.path.insert(0, str(ROOT / "bench"))
import peers

pytestmark = pytest.mark.asan


def audit(gateway, action):
    return [r for r in gateway.json("audit")["items"] if r["action"] == action]


def refused(gateway, *words):
    return gateway.cli(*words, status=1)


def start_again(gateway):
    gateway.start(apply=False)
    gateway.wait_until_loaded()


def waiting(gateway, count, **like):
    """So many messages wait, each first recipient like that."""

    def there():
        items = gateway.queue()
        first = [m["recipients"][0] for m in items]
        ok = all(r[k] == v for r in first for k, v in like.items())
        return items if len(items) == count and ok else None

    return gateway.wait_until(there, f"{count} messages {like}")


# ---- next hops that share ----


def shared(hops, **more):
    return routes(
        {
            "domain": "*",
            "next_hops": [
                {"host": "127.0.0.1", "port": hop.port, **extra} for hop, extra in hops
            ],
            **more,
        }
    )


def test_three_next_hops_share_by_weight():
    with Hop() as big, Hop() as small, Hop() as spare:
        settings = shared(
            [
                (big, {"order": 1, "weight": 3}),
                (small, {"order": 1, "weight": 1}),
                (spare, {"order": 2}),
            ],
            max_concurrency=4,
        )
        with Postern(settings=settings) as gateway:
            with gateway.client() as client:
                client.hello()
                for _ in range(200):
                    client.delivers(make_message(), "a@source.example", "b@sink.example")
            gateway.settle()
            got = [len(hop.messages) for hop in (big, small, spare)]
            assert sum(got) == 200 and got[2] == 0, got
            assert 150 - 34 <= got[0] <= 150 + 34, got


def test_without_an_order_the_first_has_it_all_and_the_next_takes_over():
    with Hop() as first, Hop() as second:
        with Postern(settings=shared([(first, {}), (second, {})])) as gateway:
            for _ in range(5):
                send(gateway, "b@sink.example")
            gateway.settle()
            assert (len(first.messages), len(second.messages)) == (5, 0)
            first.answers["CONNECT"] = CLOSE
            first.answers["MAIL"] = CLOSE
            send(gateway, "b@sink.example")
            second.wait_for(1)


def test_when_one_of_those_that_share_is_down_the_others_have_it_all():
    with Hop({"CONNECT": CLOSE}) as dead, Hop() as one, Hop() as two:
        hops = [(h, {"order": 1}) for h in (dead, one, two)]
        with Postern(settings=shared(hops, max_concurrency=2)) as gateway:
            with gateway.client() as client:
                client.hello()
                for _ in range(100):
                    client.delivers(make_message(), "a@source.example", "b@sink.example")
            gateway.settle()
            got = [len(h.messages) for h in (one, two)]
            assert sum(got) == 100 and min(got) >= 50 - 34, got


@pytest.mark.parametrize(
    "hops, pointer, word",
    [
        ([{"order": 1}, {}], "/delivery/routes/0/next_hops/1/order", "is missing"),
        ([{}, {"weight": 2}], "/delivery/routes/0/next_hops/1/weight", 'needs an "order"'),
        ([{"order": 1, "weight": 0}], "/delivery/routes/0/next_hops/0/weight", "from 1 to 1000"),
    ],
)
def test_a_share_that_makes_no_sense_is_refused(hops, pointer, word):
    with Hop() as hop, Postern(hop) as gateway:
        status, answer = gateway.api(
            "PATCH", "/api/v1/settings", shared([(hop, extra) for extra in hops])
        )
        assert status == 422 and answer["errors"][0]["pointer"] == pointer, answer
        assert word in answer["errors"][0]["detail"]


# ---- limits of a route ----


def test_a_pace_is_kept():
    """The clock is the machine's: what is looked at is that most wait, and all come in the end."""
    with Hop() as hop, Postern(settings=routes(route(hop, max_messages_per_minute=60))) as gateway:
        for _ in range(6):
            send(gateway, "b@sink.example")
        hop.wait_for(1)
        assert len(gateway.queue()) >= 1
        hop.wait_for(4)
        gateway.api("PATCH", "/api/v1/settings", routes(route(hop)))
        hop.wait_for(6)
        gateway.settle()


def test_a_large_message_is_refused_before_its_content():
    with Hop() as hop:
        settings = routes(route(hop, "small.example", max_message_size_mb=1), route(hop))
        with Postern(settings=settings) as gateway, gateway.client() as client:
            client.hello()
            client.says("MAIL FROM:<a@source.example> SIZE=1048577").expect(250)
            client.says("RCPT TO:<b@small.example>").expect(552, enhanced="5.3.4")
            client.says("RCPT TO:<b@large.example>").expect(250)
            client.says("RSET").expect(250)
            client.says("MAIL FROM:<a@source.example> SIZE=1048576").expect(250)
            client.says("RCPT TO:<b@small.example>").expect(250)
            client.says("RSET").expect(250)
            # Not announced: counted while it comes.
            client.says("MAIL FROM:<a@source.example>").expect(250)
            client.says("RCPT TO:<b@large.example>").expect(250)
            client.says("RCPT TO:<b@small.example>").expect(250)
            client.says("DATA").expect(354)
            client.sends("Subject: large\r\n\r\n" + ("x" * 998 + "\r\n") * 1100 + ".\r\n")
            client.expect(552, enhanced="5.3.4")
            client.says("MAIL FROM:<a@source.example>").expect(250)
            client.says("RCPT TO:<b@large.example>").expect(250)
            client.says("DATA").expect(354)
            client.sends("Subject: large\r\n\r\n" + ("x" * 998 + "\r\n") * 1100 + ".\r\n")
            client.expect(250)
            gateway.settle()
            assert len(hop.messages) == 1
            told = gateway.json(
                "explain", "127.0.0.1", "--to", "b@small.example", "--size", "1048577"
            )
            assert told["rule"] == "message size of the route" and told["reply"]["code"] == 552
            told = gateway.json("explain", "127.0.0.1", "--to", "b@small.example", "--size", "9")
            assert told["decision"] == "accept"
            # Where nobody may send at all, that is what is said.
            told = gateway.json(
                "explain", "192.0.2.1", "--to", "b@small.example", "--size", "1048577"
            )
            assert told["reply"]["code"] == 550


# ---- suspended ----


def test_mail_for_a_suspended_destination_is_taken_and_waits():
    with Hop() as hop, Hop() as other:
        settings = routes(route(hop, "slow.example"), route(other))
        with Postern(settings=settings) as gateway:
            name = f"127.0.0.1:{hop.port}"
            said = gateway.cli("queue", "suspend", name, "--for", "2h", "--reason", "they move")
            assert name in said and ("(in 1 h" in said or "(in 2 h" in said)
            send(gateway, "b@slow.example", "b@quick.example")
            other.wait_for(1)
            (m,) = waiting(gateway, 1, suspended=True, state="queued")
            gateway.cli("queue", "retry", "--all")
            gateway.cli("queue", "retry", "--destination", name)
            send(gateway, "c@quick.example")
            other.wait_for(2)
            assert hop.sessions == 0
            assert "suspended" in gateway.cli("queue", "list")
            assert "suspended" in gateway.cli("queue", "show", m["id"])
            assert "4.3.2 delivery is suspended" in gateway.cli("trace", m["id"])
            (s,) = gateway.json("queue", "suspensions")["items"]
            assert s["destination"] == name and s["reason"] == "they move"
            status = gateway.json("status")
            assert [s["destination"] for s in status["suspensions"]] == [name]
            assert [d["suspended"] for d in status["queue"] if d["destination"] == name] == [True]
            assert "they move" in gateway.cli("status")
            assert gateway.api("GET", "/metrics")[1].count("postern_queue_suspensions 1\n") == 1
            (row,) = audit(gateway, "queue.suspend")
            assert row["target"] == name and row["detail"] == "they move"

            gateway.kill()
            start_again(gateway)
            assert [s["reason"] for s in gateway.json("queue", "suspensions")["items"]] == [
                "they move"
            ]
            assert hop.sessions == 0
            gateway.cli("queue", "resume", name)
            hop.wait_for(1)
            gateway.settle()
            assert gateway.json("queue", "suspensions")["items"] == []
            assert len(audit(gateway, "queue.resume")) == 1
            gateway.restart()
            assert gateway.json("queue", "suspensions")["items"] == []


def test_a_suspension_ends_by_itself_also_while_the_gateway_is_down():
    with Hop() as hop, Postern(hop) as gateway:
        name = f"127.0.0.1:{hop.port}"
        gateway.cli("queue", "suspend", name, "--for", "1")
        send(gateway, "b@sink.example")
        hop.wait_for(1)
        assert gateway.json("queue", "suspensions")["items"] == []
        gateway.wait_until(lambda: '"its time is over"' in gateway.log(), "it is said")
        gateway.cli("queue", "suspend", name, "--for", "1")
        gateway.kill()
        send_later = lambda: gateway.json("queue", "suspensions")["items"] == []
        start_again(gateway)
        gateway.wait_until(send_later, "it is over")
        send(gateway, "b@sink.example")
        hop.wait_for(2)


def test_a_domain_is_suspended_before_it_has_mail_whatever_is_demanded():
    with Hop() as hop, Names({("mx.example", "MX"): ["10 a.mx.example."]}) as names:
        settings = {
            **routes({"domain": "*", "via": "mx"}, route(hop, "hub.example")),
            **names.settings,
        }
        with Postern(settings=settings) as gateway:
            assert "mx:mx.example is suspended" in gateway.cli("queue", "suspend", "MX.example")
            send(gateway, "b@mx.example")
            waiting(gateway, 1, destination="mx:mx.example", suspended=True)
            status, _ = gateway.api(
                "PATCH",
                "/api/v1/settings",
                routes({"domain": "*", "via": "mx", "tls": "encrypt"}, route(hop, "hub.example")),
            )
            assert status == 200
            waiting(gateway, 1, destination="mx:mx.example/tls=encrypt", suspended=True)
            # One that shares a next hop with others is not suspended alone.
            said = refused(gateway, "queue", "suspend", "hub.example")
            assert f"127.0.0.1:{hop.port}" in said
            assert "no destination" in refused(gateway, "queue", "suspend", "no such thing")
            assert "not suspended" in refused(gateway, "queue", "resume", "b.example")
            gateway.cli("queue", "resume", "mx.example")


# ---- redirected ----


@pytest.fixture
def trouble():
    """A next hop that takes nothing, another that takes all."""
    with Hop({"RCPT": "450 4.2.0 not now"}) as bad, Hop() as good:
        yield bad, good


def test_queued_mail_goes_to_another_next_hop_and_later_mail_by_the_routes(trouble):
    bad, good = trouble
    settings = routes(route(bad, "slow.example"), route(good))
    with Postern(settings=settings) as gateway:
        old, new = f"127.0.0.1:{bad.port}", f"127.0.0.1:{good.port}"
        for n in range(3):
            send(gateway, f"b{n}@slow.example")
        items = waiting(gateway, 3, state="deferred")
        assert gateway.cli("queue", "redirect", old, "--to", new) == (
            f"3 messages now go to {new}\n"
        )
        good.wait_for(3)
        gateway.settle()
        for m in items:
            (event,) = [
                e
                for group in gateway.json("trace", m["id"])
                for e in group["events"]
                if e["event"] == "redirected"
            ]
            assert event["next_hop"] == new
        (row,) = audit(gateway, "queue.redirect")
        assert row["target"] == f"destination {old} to {new}" and row["detail"] == "3 messages"
        send(gateway, "b@slow.example")
        waiting(gateway, 1, state="deferred", destination=old, redirected_to=None)


def test_a_redirect_outlives_a_kill_and_is_taken_back(trouble):
    bad, other = trouble
    other.answers["RCPT"] = "450 4.2.0 nor here"
    with Postern(bad) as gateway:
        old, new = f"127.0.0.1:{bad.port}", f"127.0.0.1:{other.port}"
        send(gateway, "b@sink.example", "c@sink.example")
        (m,) = waiting(gateway, 1, state="deferred")
        gateway.cli("queue", "redirect", m["id"], "--to", new)
        waiting(gateway, 1, redirected_to=new, destination=new)
        assert "redirected by an administrator" in gateway.cli("queue", "show", m["id"])
        gateway.kill()
        start_again(gateway)
        waiting(gateway, 1, redirected_to=new, destination=new)
        # The routes of another day change nothing about it.
        with Hop() as third:
            gateway.api("PATCH", "/api/v1/settings", routes(route(third)))
            waiting(gateway, 1, redirected_to=new, destination=new)
            assert "1 message now goes where the routes lead" in gateway.cli(
                "queue", "redirect", "--all", "--undo"
            )
            third.wait_for(1)
            gateway.settle()
            gateway.restart()
            assert gateway.queue() == [] and len(third.messages) == 1
        assert old


def test_a_redirect_never_weakens_what_a_route_demands(trouble):
    bad, good = trouble
    settings = routes(route(bad, "safe.example", tls="encrypt"), route(bad))
    with Postern(settings=settings) as gateway:
        send(gateway, "b@safe.example")
        send(gateway, "b@plain.example")
        waiting(gateway, 2)
        gateway.cli("queue", "redirect", "--all", "--to", f"127.0.0.1:{good.port}")
        good.wait_for(1)
        (m,) = waiting(gateway, 1, state="deferred")
        recipient = m["recipients"][0]
        assert recipient["destination"] == f"127.0.0.1:{good.port}/tls=encrypt"
        gateway.wait_until(
            lambda: "TLS" in (gateway.queue()[0]["recipients"][0]["reply"] or ""), "why it waits"
        )
        assert [m.recipients for m in good.messages] == [["b@plain.example"]]


@pytest.mark.parametrize(
    "words, why",
    [
        (["--all"], "either --to"),
        (["--all", "--to", "a.example", "--undo"], "either --to"),
        (["--to", "a.example"], "say which"),
        (["--all", "--destination", "d", "--to", "a.example"], "say which"),
    ],
)
def test_a_redirect_must_say_which_and_where(words, why):
    with Hop() as hop, Postern(hop) as gateway:
        assert why in gateway.cli("queue", "redirect", *words, status=2)


def test_a_redirect_to_nowhere_is_refused():
    with Hop({"RCPT": "450 4.2.0 no"}) as hop, Postern(hop) as gateway:
        send(gateway, "b@sink.example")
        waiting(gateway, 1)
        assert "must be HOST" in refused(gateway, "queue", "redirect", "--all", "--to", "a.b:0")
        said = refused(gateway, "queue", "redirect", "--all", "--to", f"127.0.0.1:{gateway.port}")
        assert "the gateway itself" in said
        said = refused(gateway, "queue", "redirect", "nothing.example", "--to", "a.example")
        assert "no such destination" in said
        assert gateway.queue()[0]["recipients"][0]["redirected_to"] is None


# ---- where would it go? ----


def nowhere(hop):
    return {
        ("mx.example", "MX"): ["10 a.mx.example.", "20 gw.example.", "30 c.mx.example."],
        ("a.mx.example", "A"): ["192.0.2.1"],
        ("gw.example", "A"): ["192.0.2.9"],
        ("c.mx.example", "A"): ["192.0.2.3"],
        ("null.example", "MX"): ["0 ."],
        ("us.example", "MX"): ["10 gw.example."],
        ("fail.example", "MX"): "SERVFAIL",
        ("hub.example", "A"): ["127.0.0.1"],
    }


def test_a_route_is_told_with_its_reasons():
    with Hop({"RCPT": "450 4.2.0 not now"}) as hop, Names(nowhere(hop)) as names:
        settings = {
            "identity": {"hostname": "gw.example"},
            **routes(
                {"domain": "*", "via": "mx"},
                {
                    "domain": "*.hub.example",
                    "next_hops": [
                        {"host": "127.0.0.2", "port": hop.port, "order": 5, "weight": 2},
                        {"host": "127.0.0.1", "port": hop.port, "order": 5},
                        {"host": "::1", "port": hop.port, "order": 1},
                    ],
                    "tls": "opportunistic",
                    "source": "127.0.0.11",
                    "max_messages_per_minute": 90,
                    "max_message_size_mb": 3,
                    "max_concurrency": 7,
                },
                route(hop, "hub.example", protocol="lmtp"),
            ),
            **names.settings,
        }
        with Postern(settings=settings) as gateway:

            def told(address, *words):
                return gateway.json("route", "test", address, *words)

            v = told("ann@Deep.HUB.example")
            assert v["domain"] == "deep.hub.example" and v["fate"] == "goes"
            assert v["route"] == {
                "domain": "*.hub.example",
                "via": "next_hops",
                "tls": "opportunistic",
                "tls_from": "the route's tls",
                "ca": None,
                "user": None,
                "protocol": "smtp",
                "source": "127.0.0.11",
                "max_concurrency": 7,
                "max_messages_per_minute": 90,
                "max_message_size": 3 * 1048576,
            }
            assert [(o["domain"], o["why_not"].split()[0]) for o in v["other_routes"]] == [
                ("*", "for"),
                ("hub.example", "for"),
            ]
            first, *shared_hops = v["next_hops"]
            assert first["host"] == "::1" and "family" in first["addresses"][0]["skipped"]
            assert {h["weight"] for h in shared_hops} == {1, 2}
            assert "/order=5,5,1/weight=2,1,1/tls=opportunistic" in v["destination"]

            v = told("hub.example")
            assert v["route"]["domain"] == "hub.example" and v["route"]["protocol"] == "lmtp"
            whys = {o["domain"]: o["why_not"] for o in v["other_routes"]}
            assert "not for itself" in whys["*.hub.example"]

            v = told("b@mx.example")
            assert v["dns"]["validated"] is False and v["fate"] == "goes"
            assert [(h["preference"], h["host"]) for h in v["next_hops"]] == [
                (10, "a.mx.example"),
                (20, "gw.example"),
                (30, "c.mx.example"),
            ]
            skipped = [h["addresses"][0]["skipped"] for h in v["next_hops"]]
            assert skipped == [
                None,
                "this is the gateway itself",
                "not better than this gateway",
            ]
            for domain, fate, code in (
                ("null.example", "returned", "5.1.10"),
                ("us.example", "returned", "5.4.6"),
                ("none.example", "returned", "5.1.2"),
                ("fail.example", "waits", "4.4.3"),
            ):
                v = told(f"b@{domain}")
                assert v["fate"] == fate and v["text"].startswith(code), v

            # As it is now: mail that waits, suspended, redirected.
            v = told("b@[127.0.0.1]")
            assert v["next_hops"][0]["addresses"][0]["address"] == "127.0.0.1:25"
            gateway.cli("queue", "suspend", "mx.example", "--reason", "they move")
            v = told("b@mx.example")
            assert v["fate"] == "waits" and v["suspended"]["reason"] == "they move"
            send(gateway, "b@mx.example", "c@mx.example")
            gateway.cli("queue", "redirect", "mx.example", "--to", f"127.0.0.1:{hop.port}")
            gateway.wait_until(
                lambda: told("mx.example")["queue"]["redirected"] == 2, "redirected"
            )
            text = gateway.cli("route", "test", "b@mx.example")
            for words in (
                "1. a.mx.example, preference 10",
                "192.0.2.9:25, not tried: this is the gateway itself",
                "suspended   by ",
                "redirected  2 queued recipients",
                "Mail waits: the destination is suspended",
            ):
                assert words in text, text

            # Under a draft, and what is no question.
            draft = gateway.state / "draft.json"
            draft.write_text(json.dumps({"delivery": {"routes": []}}))
            v = told("b@mx.example", "--draft", str(draft))
            assert v["route"] is None and v["text"] == "4.4.4 no route leads to mx.example"
            assert v["draft"] is True and told("mx.example")["draft"] is False
            draft.write_text(json.dumps({"delivery": {"routs": []}}))
            assert "unknown key" in refused(
                gateway, "route", "test", "b@mx.example", "--draft", str(draft)
            )
            for wrong in ("@", "a b@mx.example", "b@"):
                assert "address must be" in refused(gateway, "route", "test", wrong)


def test_what_failed_lately_is_part_of_a_route():
    with Hop({"CONNECT": CLOSE}) as hop, Postern(settings=routes(route(hop))) as gateway:
        send(gateway, "b@sink.example")
        waiting(gateway, 1, state="deferred")

        def rests():
            v = gateway.json("route", "test", "b@sink.example")
            return v if v["queue"]["rests_until"] else None

        v = gateway.wait_until(rests, "it rests")
        assert v["fate"] == "waits" and "rests since it failed" in v["text"]
        assert v["next_hops"][0]["addresses"][0]["failed_until"] and v["queue"]["deferred"] == 1
        text = gateway.cli("route", "test", "b@sink.example")
        assert "failed lately" in text and "rests for" in text


# ---- a Save that changes routes ----


def test_a_save_tells_what_becomes_of_queued_mail():
    with Hop({"RCPT": "450 4.2.0 no"}) as one, Hop({"RCPT": "450 4.2.0 no"}) as two:
        settings = routes(route(one, "a.example"), route(one, "b.example"), route(two))
        with Postern(settings=settings) as gateway:
            old, new = (f"127.0.0.1:{hop.port}" for hop in (one, two))

            def goes(destination):
                def there():
                    all_of_them = [r for m in gateway.queue() for r in m["recipients"]]
                    found = [r for r in all_of_them if r["address"].endswith("@a.example")]
                    return len(found) == 3 and {r["destination"] for r in found} == {destination}

                gateway.wait_until(there, f"to {destination}")

            send(gateway, "x@a.example", "y@a.example", "z@b.example", "k@c.example")
            send(gateway, "x@a.example")
            waiting(gateway, 2, state="deferred")
            moved = gateway.state / "moved.json"
            moved.write_text(json.dumps(routes(route(two, "b.example"), route(two, "c.example"))))
            lines = [
                f"queue: 2 messages for {old} wait: no route leads there any more",
                f"queue: 1 message for {old} now goes to {new}",
            ]
            said = gateway.cli("settings", "apply", moved, "--dry-run").splitlines()
            assert [line for line in said if line.startswith("queue")] == lines
            goes(old)
            answer = gateway.json("settings", "apply", moved)
            assert answer["queue"] == [
                {"from": old, "to": "no-route:a.example", "messages": 2, "waits": True},
                {"from": old, "to": new, "messages": 1, "waits": False},
            ]
            goes("no-route:a.example")
            gateway.restart()
            goes("no-route:a.example")
            said = gateway.cli("settings", "rollback", "1").splitlines()
            assert f"queue: 2 messages for no-route:a.example now go to {old}" in said
            goes(old)
            # Nothing about routes: nothing about the queue.
            answer = gateway.api("PATCH", "/api/v1/settings", {"identity": {"greeting": "hi"}})[1]
            assert answer["queue"] == []


# ---- a real next hop ----


def test_postfix_shares_the_mail_and_takes_what_is_redirected():
    with temporary_folder() as folder:
        folder.chmod(0o755)
        with Sink() as sink, Hop({"RCPT": "450 4.2.0 not now"}) as bad, Hop() as other:
            with peers.Postfix(folder / "postfix", sink.port) as postfix:
                settings = routes(
                    *shared([(postfix, {"order": 1}), (other, {"order": 1})])["delivery"]["routes"],
                    route(bad, "slow.example"),
                )
                with Postern(settings=settings) as gateway:
                    for n in range(3):
                        send(gateway, f"b{n}@slow.example")
                    waiting(gateway, 3, state="deferred")
                    gateway.cli("queue", "redirect", "--all", "--to", f"127.0.0.1:{postfix.port}")
                    sink.wait_for(3, 60)
                    with gateway.client() as client:
                        client.hello()
                        for _ in range(80):
                            client.delivers(make_message(), "a@source.example", "b@sink.example")
                    gateway.settle()
                    got = len(other.messages)
                    assert 40 - 34 <= got <= 40 + 34, got
                    sink.wait_for(3 + 80 - got, 60)
