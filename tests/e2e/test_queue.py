"""The queue in an administrator's hands: what is shown, what is done, and that it lasts."""

import email

import pytest

from lib import Hop, Postern, make_message, split_trace


def send(gateway, *recipients, sender="a@source.example", content=None):
    with gateway.client() as client:
        client.hello()
        return client.delivers(content or make_message(), sender, *recipients)


def queued(gateway, count=1, state="deferred"):
    def all_there():
        items = gateway.queue()
        states = {r["state"] for m in items for r in m["recipients"]}
        return items if len(items) == count and states <= {state} else None

    return gateway.wait_until(all_there, f"{count} {state}")


def ids(gateway, *words) -> list[str]:
    return [m["id"] for m in gateway.json("queue", "list", *words)["items"]]


@pytest.fixture
def greylisting():
    with Hop({"RCPT": "450 4.2.0 greylisted"}) as hop:
        yield hop


# ---- what is done lasts, also when the process is killed right after it ----


def start_again(gateway):
    """A list lacks messages until all of before the start are loaded."""
    gateway.start(apply=False)
    gateway.wait_until(lambda: not gateway.api("GET", "/api/v1/queue")[1]["loading"], "loaded")


def killed(gateway):
    gateway.kill()
    start_again(gateway)


def test_a_hold_outlives_a_kill(greylisting):
    with Postern(greylisting) as gateway:
        send(gateway)
        (item,) = queued(gateway)
        gateway.cli("queue", "hold", item["id"])
        killed(gateway)
        assert ids(gateway, "--status", "held") == [item["id"]]
        greylisting.answers.clear()
        gateway.cli("queue", "retry", "--all")
        assert ids(gateway, "--held") == [item["id"]] and greylisting.messages == []


def test_a_release_outlives_a_kill(greylisting):
    with Postern(greylisting) as gateway:
        send(gateway)
        (item,) = queued(gateway)
        gateway.cli("queue", "hold", item["id"])
        gateway.cli("queue", "release", item["id"])
        killed(gateway)
        assert ids(gateway, "--held") == []
        greylisting.answers.clear()
        gateway.cli("queue", "retry", "--all")
        gateway.settle()
        assert len(greylisting.messages) == 1


def test_a_delete_outlives_a_kill(greylisting):
    with Postern(greylisting) as gateway:
        send(gateway)
        send(gateway)
        first, second = queued(gateway, 2)
        gateway.cli("queue", "delete", first["id"])
        killed(gateway)
        assert ids(gateway) == [second["id"]]


def test_a_retry_outlives_a_kill():
    """The next attempt is due at once after the restart, not when it was planned."""
    with Hop({"RCPT": "450 4.2.0 greylisted"}) as hop, Postern(hop) as gateway:
        send(gateway)
        (item,) = queued(gateway)
        assert item["recipients"][0]["next_attempt"]
        gateway.cli("queue", "retry", item["id"])
        gateway.kill()
        hop.answers.clear()
        start_again(gateway)
        assert len(hop.wait_for(1, 20)) == 1  # the plan was 30 s
        gateway.settle()


def test_a_bounce_outlives_a_kill(greylisting):
    with Postern(greylisting) as gateway:
        send(gateway)
        (item,) = queued(gateway)
        gateway.cli("queue", "bounce", item["id"])
        gateway.kill()
        greylisting.answers.clear()
        start_again(gateway)
        gateway.cli("queue", "retry", "--all")
        gateway.settle()
        (notice,) = greylisting.messages
        assert notice.reverse_path == "" and notice.recipients == ["a@source.example"]
        assert b"iven up by the administrator" in b" ".join(notice.content.split())


def test_actions_on_all_and_on_a_destination():
    with Hop({"RCPT": "450 4.2.0 no"}) as one, Hop({"RCPT": "450 4.2.0 no"}) as other:
        routes = [
            {"domain": "other.example", "next_hops": [{"host": "127.0.0.1", "port": other.port}]},
            {"domain": "*", "next_hops": [{"host": "127.0.0.1", "port": one.port}]},
        ]
        with Postern(settings={"delivery": {"routes": routes}}) as gateway:
            for number in range(6):
                send(gateway, "b@other.example" if number % 3 == 0 else "b@sink.example")
            queued(gateway, 6)
            name = f"127.0.0.1:{other.port}"
            assert "2 messages" in gateway.cli("queue", "hold", "--destination", name)
            assert len(ids(gateway, "--destination", name, "--held")) == 2
            assert "4 messages" in gateway.cli("queue", "hold", "--all")
            assert "2 messages" in gateway.cli("queue", "release", "--destination", name)
            assert "2 messages" in gateway.cli("queue", "delete", "--destination", name)
            assert len(ids(gateway)) == 4
            assert "no such destination" in gateway.cli(
                "queue", "delete", "--destination", "nowhere.example", status=1
            )
            assert "4 messages" in gateway.cli("queue", "delete", "--all")
            assert ids(gateway) == []


# ---- what is shown ----


def test_the_list_is_filtered_sorted_and_paged(greylisting):
    with Postern(greylisting) as gateway:
        for number in range(7):
            send(gateway, f"b{number % 2}@sink.example", sender=f"a{number}@source.example")
        items = queued(gateway, 7)
        oldest_first = [m["id"] for m in items]
        assert ids(gateway, "--newest") == oldest_first[::-1]
        assert ids(gateway, "--recipient", "B1@sink.example") == oldest_first[1::2]
        assert ids(gateway, "--sender", "a3@source.example") == [oldest_first[3]]
        assert ids(gateway, "--older-than", "1h") == []
        assert ids(gateway, "--newer-than", "1h") == oldest_first
        assert ids(gateway, "--status", "in_doubt") == []
        assert ids(gateway, "--status", "deferred", "--newest") == oldest_first[::-1]
        assert "older_than" in gateway.cli("queue", "list", "--older-than", "soon", status=1)
        seen, query = [], "/api/v1/queue?limit=2&recipient=b0@sink.example&order=newest"
        page = query
        while page:
            status, answer = gateway.api("GET", page)
            assert status == 200 and answer["total"] == 4
            seen += [m["id"] for m in answer["items"]]
            page = answer["next"] and f"{query}&cursor={answer['next']}"
        assert seen == oldest_first[::2][::-1]


def test_a_message_shows_what_was_tried_when_and_where(greylisting):
    with Postern(greylisting) as gateway:
        send(gateway, "b@sink.example")
        (item,) = queued(gateway)
        gateway.cli("queue", "retry", item["id"])
        gateway.wait_until(lambda: gateway.queue()[0]["recipients"][0]["attempts"] == 2, "again")
        assert gateway.stop() == 0
        start_again(gateway)
        shown = gateway.json("queue", "show", item["id"])
        (recipient,) = shown["recipients"]
        assert (recipient["attempts"], recipient["code"]) == (2, 450)
        assert recipient["reply"] == "4.2.0 greylisted"
        events = [event["event"] for event in shown["history"]]
        assert events == ["received", "deferred", "retried", "deferred"]
        assert shown["history"][1]["peer"].endswith(str(greylisting.port))
        text = gateway.cli("queue", "show", item["id"])
        assert "2 attempts, next in " in text and text.count("greylisted") == 3
        assert "history" in text and "by=" in text
        table = gateway.cli("queue", "list")
        assert " s " in table.splitlines()[1] and "greylisted" in table


def test_thousands_of_recipients_are_all_shown():
    count = 2500
    refuses = {"RCPT": lambda hop, line: None if "<b7@" in line else "450 4.2.0 later"}
    with Hop(refuses) as hop, Postern(
        hop, settings={"message_rules": {"max_recipients": 3000}}
    ) as gateway:
        send(gateway, *(f"b{n}@sink.example" for n in range(count)))
        hop.wait_for(1)

        def tried():
            (item,) = gateway.json("queue", "list")["items"]
            return item if item["waiting_count"] == count - 1 else None

        item = gateway.wait_until(tried, "one is delivered")
        assert item["recipient_count"] == count
        assert len(item["recipients"]) == 20
        assert {r["state"] for r in item["recipients"]} == {"deferred"}
        shown = gateway.json("queue", "show", item["id"])
        assert [r["address"] for r in shown["recipients"]] == [
            f"b{n}@sink.example" for n in range(count)
        ]
        assert shown["recipients"][7]["state"] == "delivered"
        assert f"{count}, of whom {count - 1} wait" in gateway.cli("queue", "show", item["id"])


def test_a_bounce_is_there_before_the_message_is_gone():
    """Whoever looks at any moment sees the message or its notice."""
    with Hop({"RCPT": lambda hop, line: "550 5.1.1 no" if "sink" in line else "450 no"}) as hop:
        with Postern(hop) as gateway:
            send(gateway, "nobody@sink.example")
            senders = []
            while "" not in senders:
                items = gateway.queue()
                assert items, "neither the message nor its notice is in the queue"
                senders = [m["sender"] for m in items]


def test_export_writes_what_was_received(greylisting, tmp_path):
    content = make_message("to be exported", body=b".\r\n..\r\n")
    with Postern(greylisting) as gateway:
        send(gateway, content=content)
        send(gateway)
        first, _ = queued(gateway, 2)
        gateway.cli("queue", "export", "--all", "--to", str(tmp_path))
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
            f"{m['id']}.eml" for m in gateway.queue()
        )
        octets = (tmp_path / f"{first['id']}.eml").read_bytes()
        assert split_trace(octets)[1] == content
        assert email.message_from_bytes(octets)["Subject"] == "to be exported"
        printed = gateway.cli("queue", "export", first["id"], "--to", "-")
        assert "Subject: to be exported" in printed
        gateway.cli("queue", "export", "--all", "--to", "-", status=2)
