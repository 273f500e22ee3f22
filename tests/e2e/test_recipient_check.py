"""Recipients are asked about at their next hop, before a client is answered."""

import re
import sys
import threading

import pytest

from lib import CLOSE, RESET, ROOT, SILENT, Hop, Postern, Sink, make_message, pki, temporary_folder
from test_auth import AUTH, PASSWORD
from test_tls_outgoing import route, server

sys.path.insert(0, str(ROOT / "bench"))
import peers  # noqa: E402

pytestmark = pytest.mark.asan
UNKNOWN = "550 5.1.1 <nobody>: no such user [ref AAAA-AAAA] \u263a"
STRANGER = "127.0.0.9"


def knows(*users):
    """RCPT of a next hop that takes these local parts only."""

    def rcpt(hop, line):
        local = re.search(r"<(.*)@", line).group(1).lower()
        return None if local in users else UNKNOWN

    return rcpt


def gateway_to(*routes, mode="on", domains=("store.example",), **rules) -> Postern:
    return Postern(
        settings={
            "delivery": {"routes": list(routes)},
            "message_rules": {
                "relay_domains": list(domains),
                "permitted_relay": {"hosts": "specified", "networks": ["127.0.0.77"]},
                "recipient_check": mode,
                **rules,
            },
        }
    )


def begun(gateway, source=STRANGER):
    client = gateway.client(source=source)
    client.hello()
    client.says("MAIL FROM:<a@client.example>").expect(250)
    return client


def rcpt(gateway, *addresses, source=STRANGER):
    with begun(gateway, source) as client:
        replies = [client.says(f"RCPT TO:<{address}>").reply() for address in addresses]
        client.says("QUIT").expect(221)
    return replies if len(replies) > 1 else replies[0]


def metric(gateway, name: str) -> int:
    text = gateway.api("GET", "/metrics")[1]
    return int(re.search(rf"^{re.escape(name)} (\d+)$", text, re.M).group(1))


def questions(gateway, answer: str) -> int:
    return metric(gateway, f'postern_recipient_questions_total{{answer="{answer}"}}')


def commands(hop, verb: str) -> list[str]:
    return [line[2:] for line in hop.transcript if line.startswith(f"> {verb}")]


# ---- what is said ----


def test_a_recipient_is_taken_or_refused_as_the_next_hop_says():
    with Hop({"RCPT": knows("anna")}) as hop, gateway_to(route(hop)) as gateway:
        taken, refused = rcpt(gateway, "anna@store.example", "nobody@store.example")
        assert (taken.code, taken.enhanced) == (250, "2.1.5")
        assert refused.code == 550
        assert re.fullmatch(
            r"5\.1\.1 The next hop does not take this recipient: <nobody>: no such user "
            r"\(ref AAAA-AAAA\) \?+ \[ref [0-9A-Z]{4}-[0-9A-Z]{4}\]",
            refused.text,
        ), refused.text
        reference = refused.text[-10:-1]
        told = gateway.cli("explain", "ref", reference)
        assert "recipient check" in told and "nobody@store.example" in told
        assert set(commands(hop, "MAIL")) == {"MAIL FROM:<>"}
        assert "DATA" not in hop.steps and not hop.messages
        # The second may be asked before the first connection has heard the reply to its RSET.
        hop.wait_for_step("RSET", 2)
        assert hop.sessions <= 2


def test_it_is_off_by_default_and_elsewhere_nobody_is_asked():
    with Hop({"RCPT": UNKNOWN}) as hop, gateway_to(route(hop), mode=None) as gateway:
        assert rcpt(gateway, "nobody@store.example").code == 250
        gateway.api("PATCH", "/api/v1/settings", {"message_rules": {"recipient_check": "on"}})
        assert rcpt(gateway, "nobody@elsewhere.example", source="127.0.0.77").code == 250
        assert rcpt(gateway, "nobody@elsewhere.example").enhanced == "5.7.1"
        assert rcpt(gateway, "postmaster").code == 250
        assert hop.sessions == 0
        # Who may relay is told as well, and no entry "*" makes strangers' hosts ours to ask.
        assert rcpt(gateway, "nobody@store.example", source="127.0.0.77").enhanced == "5.1.1"
        gateway.api(
            "PATCH",
            "/api/v1/settings",
            {"message_rules": {"relay_domains": ["*"]}, "confirm": ["open_relay"]},
        )
        asked = len(commands(hop, "RCPT"))
        assert rcpt(gateway, "other@elsewhere.example").code == 250
        assert len(commands(hop, "RCPT")) == asked


def test_mail_is_delivered_to_those_it_takes():
    with Hop({"RCPT": knows("anna", "berta")}) as hop, gateway_to(route(hop)) as gateway:
        with begun(gateway) as client:
            # In one write, with the content behind it.
            client.sends(
                "RCPT TO:<anna@store.example>\r\nRCPT TO:<nobody@store.example>\r\n"
                "RCPT TO:<BERTA@Store.Example>\r\nDATA\r\n"
            )
            assert [client.reply().code for _ in range(4)] == [250, 550, 250, 354]
            client.sends(make_message() + b".\r\n").expect(250)
        (message,) = hop.wait_for(1)
        assert message.recipients == ["anna@store.example", "BERTA@Store.Example"]
        gateway.settle()


@pytest.mark.parametrize(
    "answers",
    [
        {"CONNECT": "421 4.3.2 busy"},
        {"CONNECT": "554 5.7.1 not you"},
        {"EHLO": CLOSE},
        {"MAIL": "550 5.7.1 no bounces here"},
        {"MAIL": "451 4.3.0 later"},
        {"MAIL": CLOSE},
        {"RCPT": "450 4.2.1 mailbox busy"},
        {"RCPT": "452 4.2.2 full"},
        {"RCPT": "421 4.7.0 enough"},
        {"RCPT": "503 5.5.1 MAIL first"},
        {"RCPT": "530 5.7.0 log in"},
        {"RCPT": CLOSE},
        {"RCPT": RESET},
        {"RCPT": b"what?\r\n"},
        {"RCPT": b"550 5.1"},
        {"RCPT": "354 go on"},
    ],
    ids=str,
)
def test_no_answer_about_the_recipient_is_451_never_550(answers):
    with Hop(answers) as hop, gateway_to(route(hop)) as gateway:
        for _ in range(2):
            reply = rcpt(gateway, "anna@store.example")
            assert (reply.code, reply.enhanced) == (451, "4.4.1"), reply
            assert "[ref " in reply.text
        assert questions(gateway, "refused") == 0
        hop.answers.clear()


def test_nobody_listens():
    with Hop() as hop:
        pass
    with gateway_to(route(hop)) as gateway:
        assert rcpt(gateway, "anna@store.example").code == 451
        assert rcpt(gateway, "berta@store.example").code == 451
        told = gateway.cli("explain", STRANGER, "--to", "anna@store.example", status=None)
        assert "recipient check" in told and "Connection refused" in told, told


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL", "RCPT"])
def test_a_silent_next_hop_costs_the_time_limit_and_then_nobody_waits(step):
    with Hop({step: SILENT}) as hop, gateway_to(
        route(hop), recipient_check_timeout_seconds=1
    ) as gateway:
        with begun(gateway) as client:
            client.says("RCPT TO:<anna@store.example>").expect(451)
            for n in range(200):  # it rests: these are answered at once
                client.says(f"RCPT TO:<u{n}@store.example>").expect(451)
        assert metric(gateway, "postern_recipient_questions_waiting") <= 1


# ---- what is remembered ----


def test_answers_are_remembered_by_who_gave_them():
    with Hop({"RCPT": knows("anna")}) as hop, Hop({"RCPT": knows("berta")}) as other:
        with gateway_to(route(hop)) as gateway:
            for _ in range(3):
                assert rcpt(gateway, "anna@store.example").code == 250
                assert rcpt(gateway, "berta@STORE.example").code == 550
            assert len(commands(hop, "RCPT")) == 2
            assert metric(gateway, "postern_recipient_answers_remembered_total") == 4
            assert metric(gateway, "postern_recipients_remembered") == 2
            # By today's routes.
            gateway.api("PATCH", "/api/v1/settings", {"delivery": {"routes": [route(other)]}})
            assert rcpt(gateway, "anna@store.example").code == 550
            assert rcpt(gateway, "berta@store.example").code == 250
            gateway.api("PATCH", "/api/v1/settings", {"delivery": {"routes": [route(hop)]}})
            assert rcpt(gateway, "anna@store.example").code == 250
            assert len(commands(hop, "RCPT")) == 2


def test_what_is_remembered_is_answered_while_the_next_hop_is_away():
    with Hop({"RCPT": knows("anna")}) as hop, gateway_to(route(hop)) as gateway:
        assert rcpt(gateway, "anna@store.example").code == 250
        assert rcpt(gateway, "nobody@store.example").code == 550
        hop.answers["CONNECT"] = hop.answers["MAIL"] = "421 4.3.2 away"
        assert rcpt(gateway, "new@store.example").code == 451
        assert rcpt(gateway, "anna@store.example").code == 250
        assert rcpt(gateway, "nobody@store.example").code == 550
        told = gateway.cli("explain", STRANGER, "--to", "nobody@store.example", status=None)
        assert "remembered" in told and "no such user" in told


def test_a_no_is_not_remembered_for_longer_than_a_yes():
    with gateway_to(mode="off") as gateway:
        status, problem = gateway.api(
            "PATCH",
            "/api/v1/settings",
            {
                "message_rules": {
                    "recipient_check_taken_minutes": 5,
                    "recipient_check_refused_minutes": 6,
                }
            },
        )
        assert status == 422
        pointer = "/message_rules/recipient_check_refused_minutes"
        assert problem["errors"][0]["pointer"] == pointer


# ---- many ----


def test_questions_about_one_recipient_are_one_question():
    asked, go = threading.Event(), threading.Event()

    def held(hop, line):
        asked.set()
        go.wait(30)
        return None

    with Hop({"RCPT": held}) as hop, gateway_to(
        route(hop), recipient_check_timeout_seconds=60
    ) as gateway:
        clients = [begun(gateway) for _ in range(20)]
        for client in clients:
            client.says("RCPT TO:<anna@store.example>")
        assert asked.wait(30)
        # None of the loops waits: others are served meanwhile, this client's next commands kept.
        clients[0].says("NOOP")
        with gateway.client() as bystander:
            bystander.hello()
            bystander.says("NOOP").expect(250)
        live = gateway.api("GET", "/api/v1/connections/live")[1]["items"]
        assert any("next hop" in str(row) for row in live), live
        go.set()
        for client in clients:
            client.expect(250, enhanced="2.1.5")
        clients[0].expect(250)
        assert len(commands(hop, "RCPT")) == 1


def test_many_recipients_at_once_are_asked_over_few_connections():
    users = {f"u{n}" for n in range(0, 600, 2)}
    with Hop({"RCPT": knows(*users)}) as hop, gateway_to(route(hop)) as gateway:
        def ask(part, wrong):
            with begun(gateway) as client:
                numbers = range(part * 100, part * 100 + 100)
                client.sends("".join(f"RCPT TO:<u{n}@store.example>\r\n" for n in numbers))
                for n in numbers:
                    if client.reply().code != (550 if n % 2 else 250):
                        wrong.append(n)

        wrong: list[int] = []
        threads = [threading.Thread(target=ask, args=(part, wrong)) for part in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(commands(hop, "RCPT")) == 600 and hop.sessions <= 4
        assert questions(gateway, "taken") == 300 and questions(gateway, "refused") == 300


def test_a_client_that_goes_away_meanwhile_harms_nobody():
    go = threading.Event()
    with Hop({"RCPT": lambda hop, line: go.wait(30) and None}) as hop, gateway_to(
        route(hop), recipient_check_timeout_seconds=60
    ) as gateway:
        leaver, stayer = begun(gateway), begun(gateway)
        leaver.says("RCPT TO:<anna@store.example>")
        hop.wait_for_step("RCPT")
        leaver.reset()
        stayer.says("RCPT TO:<anna@store.example>")
        go.set()
        stayer.expect(250)
        stayer.says("RSET").expect(250)
        gateway.check_log()


def test_it_stops_in_order_while_questions_wait():
    with Hop({"RCPT": SILENT}) as hop, gateway_to(
        route(hop), recipient_check_timeout_seconds=120
    ) as gateway:
        client = begun(gateway)
        client.says("RCPT TO:<anna@store.example>")
        hop.wait_for_step("RCPT")
        assert gateway.stop() == 0


def test_a_next_hop_that_closes_idle_connections_is_asked_again():
    with Hop({"RCPT": knows("anna"), "RSET": "250 2.0.0 OK"}) as hop, gateway_to(
        route(hop)
    ) as gateway:
        assert rcpt(gateway, "anna@store.example").code == 250
        for connection in list(hop._open):
            connection.shutdown(2)
        assert rcpt(gateway, "nobody@store.example").code == 550
        assert rcpt(gateway, "anna@store.example").code == 250


# ---- shadow, explain ----


def test_shadow_lets_through_and_counts():
    with Hop({"RCPT": knows("anna")}) as hop, gateway_to(route(hop), mode="shadow") as gateway:
        assert [r.code for r in rcpt(gateway, "anna@store.example", "nobody@store.example")] == [
            250,
            250,
        ]
        rows = gateway.api("GET", "/api/v1/connections/limits")[1]
        row = next(r for r in rows["rules"] if r["rule"] == "recipient check")
        assert (row["mode"], row["refused"], row["shadow"]) == ("shadow", 0, 1)
        assert '"recipient check"' in gateway.cli("connections", "limits", "--json")
        told = gateway.cli("explain", STRANGER, "--to", "nobody@store.example")
        assert "recipient check" in told and "would be refused, were it on" in told, told
        assert "no such user" in told


def test_an_explanation_says_what_a_session_gets():
    with Hop({"RCPT": knows("anna")}) as hop, gateway_to(route(hop)) as gateway:
        for address, code in (("anna@store.example", 250), ("nobody@store.example", 550)):
            told = gateway.api("POST", "/api/v1/explain", {"address": STRANGER, "to": address})[1]
            assert told["reply"]["code"] == code
            step = next(s for s in told["steps"] if s["rule"] == "recipient check")
            assert step["decisive"] and "asked now" in step["text"], step
            assert sum(s["decisive"] for s in told["steps"]) == 1
            assert rcpt(gateway, address).code == code
            told = gateway.api("POST", "/api/v1/explain", {"address": STRANGER, "to": address})[1]
            step = next(s for s in told["steps"] if s["rule"] == "recipient check")
            assert "remembered" in step["text"]
        # Under a draft too.
        draft = {"message_rules": {"recipient_check": "off"}}
        told = gateway.api(
            "POST", "/api/v1/explain", {"address": STRANGER, "to": "x@store.example", "draft": draft}
        )[1]
        assert told["reply"]["code"] == 250


# ---- TLS, AUTH, LMTP, real ones ----


def test_what_the_route_demands_holds_for_questions():
    certificate = pki.make("hop", names=["127.0.0.1"])
    with Hop(
        {"RCPT": knows("anna")}, tls=server(certificate), users={AUTH["user"]: PASSWORD}
    ) as hop, gateway_to(route(hop, tls="encrypt", auth=AUTH)) as gateway:
        assert rcpt(gateway, "anna@store.example").code == 250
        assert rcpt(gateway, "nobody@store.example").code == 550
        assert not {"MAIL", "RCPT", "AUTH"} & set(hop.plain)
        assert hop.logins == [("PLAIN", AUTH["user"], PASSWORD)]
    with Hop({"RCPT": knows("anna")}) as hop, gateway_to(route(hop, tls="encrypt")) as gateway:
        assert rcpt(gateway, "anna@store.example").code == 451
        assert "MAIL" not in hop.steps


def test_lmtp():
    with Hop({"RCPT": knows("anna")}, lmtp=True) as hop, gateway_to(
        route(hop, protocol="lmtp")
    ) as gateway:
        assert rcpt(gateway, "anna@store.example").code == 250
        assert rcpt(gateway, "nobody@store.example").code == 550


def test_a_real_postfix_with_a_recipient_map(root):
    with temporary_folder() as folder:
        folder.chmod(0o755)
        settings = {
            "relay_domains": "store.example",
            "relay_recipient_maps": "inline:{anna@store.example=x, berta@store.example=x}",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
        }
        with Sink() as sink, peers.Postfix(
            folder / "postfix", sink.port, settings=settings
        ) as postfix, gateway_to(route(postfix)) as gateway:
            replies = rcpt(
                gateway,
                "anna@store.example",
                "nobody@store.example",
                "Berta@store.example",
                '"a b"@store.example',
            )
            assert [r.code for r in replies] == [250, 550, 250, 550], replies
            assert "User unknown in relay recipient table" in replies[1].text
            with begun(gateway) as client:
                client.says("RCPT TO:<anna@store.example>").expect(250)
                client.says("DATA").expect(354)
                client.sends(make_message() + b".\r\n").expect(250)
            sink.wait_for(1)


def test_a_real_dovecot_by_lmtp(root):
    with temporary_folder() as folder:
        folder.chmod(0o755)
        with peers.Dovecot(folder / "dovecot", users=("anna",)) as store, gateway_to(
            route(store, protocol="lmtp")
        ) as gateway:
            replies = rcpt(gateway, "anna@store.example", "nobody@store.example")
            assert [r.code for r in replies] == [250, 550], replies
            assert "User doesn't exist" in replies[1].text
