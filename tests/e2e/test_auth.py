"""AUTH towards a smart host: over TLS only, and the password is never seen again."""

import json
import stat
import sys

import pytest

from lib import ROOT, Hop, Sink, pki, temporary_folder
from test_relay import deferred, send
from test_tls_outgoing import gateway_to, reply_of, route, server, set_routes

sys.path.insert(0, str(ROOT / "bench"))
import peers  # noqa: E402

pytestmark = pytest.mark.asan
PASSWORD = "correct horse \N{LATIN SMALL LETTER SHARP S} battery"
AUTH = {"user": "gw@example.com", "password": PASSWORD}


@pytest.fixture(scope="module")
def certificate():
    return pki.make("hop", names=["127.0.0.1", "localhost"])


def smart_host(certificate, **more) -> Hop:
    return Hop(tls=server(certificate), users={AUTH["user"]: PASSWORD}, **more)


def auth_route(hop, **more) -> dict:
    return route(hop, tls="encrypt", **{"auth": AUTH, **more})


def document(gateway) -> dict:
    return gateway.api("GET", "/api/v1/settings")[1]


def kept_name(gateway) -> str:
    return document(gateway)["delivery"]["routes"][0]["auth"]["password"]


def refused(gateway, *routes) -> list[dict]:
    status, problem = gateway.api("PATCH", "/api/v1/settings", {"delivery": {"routes": list(routes)}})
    assert status == 422, problem
    assert PASSWORD not in json.dumps(problem, ensure_ascii=False)
    return problem["errors"]


# ---- logging in ----


@pytest.mark.parametrize("mechanisms", ["PLAIN LOGIN", "LOGIN", "CRAM-MD5 LOGIN PLAIN"])
def test_it_logs_in_once_for_many_messages(certificate, mechanisms):
    with smart_host(certificate, mechanisms=mechanisms) as hop, gateway_to(auth_route(hop)) as gateway:
        for n in range(3):
            send(gateway)
            hop.wait_for(n + 1)
        mechanism = "LOGIN" if mechanisms == "LOGIN" else "PLAIN"
        assert set(hop.logins) == {(mechanism, AUTH["user"], PASSWORD)}
        assert len(hop.logins) <= hop.sessions
        assert set(hop.plain) <= {"CONNECT", "EHLO", "STARTTLS"}


def test_different_users_share_no_connection(certificate):
    with smart_host(certificate) as hop:
        hop.users["other"] = "word"
        other = {"user": "other", "password": "word"}
        with gateway_to(
            auth_route(hop, domain="one.example"), auth_route(hop, domain="two.example", auth=other)
        ) as gateway:
            for n in range(2):
                send(gateway, "b@one.example", "b@two.example")
                hop.wait_for(2 * n + 2)
            assert {user for _, user, _ in hop.logins} == {AUTH["user"], "other"}
            assert 2 <= len(hop.logins) <= hop.sessions


def test_a_long_password_goes_behind_a_challenge(certificate):
    long_one = {"user": "u" * 255, "password": "p" * 255}
    with Hop(tls=server(certificate), users={"u" * 255: "p" * 255}) as hop:
        with gateway_to(auth_route(hop, auth=long_one)) as gateway:
            send(gateway)
            hop.wait_for(1)
            assert "> AUTH PLAIN" in hop.transcript


# ---- not taken ----


def test_a_wrong_password_defers_says_so_and_is_not_tried_again_and_again(certificate):
    wrong = {**AUTH, "password": "wrong"}
    with smart_host(certificate) as hop, gateway_to(auth_route(hop, auth=wrong)) as gateway:
        send(gateway)
        reply = reply_of(gateway)
        assert reply.startswith("4.7.8 ") and "535 5.7.8 no such user" in reply, reply
        assert AUTH["user"] in reply and "write the right user and password" in reply
        tried = len(hop.logins)
        for _ in range(5):  # new mail waits with what is there
            send(gateway)
        deferred(gateway, 6)
        assert len(hop.logins) == tried
        assert "MAIL" not in hop.steps
        metrics = gateway.api("GET", "/metrics")[1]
        assert f"postern_delivery_auth_refused_total {tried}\n" in metrics
        # Another password is another destination, which does not rest.
        set_routes(gateway, auth_route(hop))
        gateway.cli("queue", "retry", "--all")
        hop.wait_for(6)
        gateway.settle()


@pytest.mark.parametrize(
    "reply, expected",
    [
        ("454 4.7.0 the database is down", "4.7.0 the next hop cannot check"),
        ("334 bm9uc2Vuc2U=\r\n334 x\r\n334 y", "4.5.0"),
        ("421 4.3.2 go away", "4.3.2 go away"),
        ("504 5.5.4 what?", "4.7.8"),
        ("250-2.0.0 fine\r\n535 no", "4.5.0"),
    ],
)
def test_what_a_next_hop_may_say_to_it_defers(certificate, reply, expected):
    with smart_host(certificate, mechanisms="PLAIN") as hop, gateway_to(auth_route(hop)) as gateway:
        hop.answers["AUTH"] = reply
        send(gateway)
        assert expected in reply_of(gateway)
        assert "MAIL" not in hop.steps


@pytest.mark.parametrize(
    "broken, status",
    [
        ({}, "4.7.4"),  # no STARTTLS
        ({"answers": {"STARTTLS": "454 4.7.0 not now"}}, "4.7.4"),
        ({"mechanisms": "CRAM-MD5"}, "4.7.0"),
    ],
)
def test_nothing_is_said_where_it_cannot_be_said_safely(certificate, broken, status):
    more = {"tls": server(certificate), **broken} if broken else {}
    with Hop(users={AUTH["user"]: PASSWORD}, **more) as hop, gateway_to(auth_route(hop)) as gateway:
        send(gateway)
        assert reply_of(gateway).startswith(status)
        assert not {"AUTH", "MAIL"} & set(hop.steps) and not hop.logins


@pytest.mark.parametrize("tls", [None, "none", "opportunistic"])
def test_a_route_that_might_send_it_in_clear_is_refused(certificate, tls):
    with smart_host(certificate) as hop, gateway_to() as gateway:
        bad = auth_route(hop)
        bad.pop("tls")
        errors = refused(gateway, bad | ({"tls": tls} if tls else {}))
        assert errors[0]["pointer"] == "/delivery/routes/0/auth"
        assert '"encrypt" or "verify"' in errors[0]["detail"]


@pytest.mark.parametrize(
    "auth, pointer",
    [
        ({"user": "u"}, "/password"),
        ({"password": PASSWORD}, "/user"),
        ({"user": "u", "password": PASSWORD + "\n"}, "/password"),
        ({"user": "u", "password": [PASSWORD]}, "/password"),
        ({"user": "u", "password": ""}, "/password"),
        ({"user": "u", "password": PASSWORD * 12}, "/password"),
        ({"user": "u", "pass": PASSWORD}, "/password"),
        (f"u:{PASSWORD}", ""),
        ({"user": "u", "password": "secret:0123456789abcdef"}, "/password"),
    ],
)
def test_a_mistake_is_named_and_never_repeats_the_password(certificate, auth, pointer):
    with smart_host(certificate) as hop, gateway_to() as gateway:
        errors = refused(gateway, auth_route(hop, auth=auth))
        assert errors[0]["pointer"] == f"/delivery/routes/0/auth{pointer}"
        assert "correct horse" not in gateway.cli("audit", "--json")


def test_it_is_for_hosts_that_are_named(certificate):
    with gateway_to() as gateway:
        errors = refused(gateway, {"domain": "*", "via": "mx", "tls": "encrypt", "auth": AUTH})
        assert "next_hops" in errors[0]["detail"]


# ---- write-only ----


def everything_told(gateway) -> str:
    """All that an administrator can read."""
    gateway.api("POST", "/api/v1/log/flush")
    revisions = gateway.api("GET", "/api/v1/settings/revisions")[1]["items"]
    told = [gateway.api("GET", f"/api/v1/settings/revisions/{r['revision']}")[1] for r in revisions]
    for path in ("settings", "audit", "queue", "status", "messages"):
        told.append(gateway.api("GET", f"/api/v1/{path}")[1])
    told += [gateway.cli("settings", "export"), gateway.cli("settings", "show", "delivery")]
    told += [gateway.cli("settings", "diff", "1", str(revisions[0]["revision"]))]
    told += [gateway.cli("audit", "--json"), gateway.cli("queue", "list", "--json")]
    told.append(gateway.log_octets().decode("utf-8", "replace"))
    return json.dumps(told, ensure_ascii=False)


def test_it_is_never_told_again(certificate):
    with smart_host(certificate) as hop, gateway_to(auth_route(hop)) as gateway:
        send(gateway)
        hop.wait_for(1)
        hop.answers["AUTH"] = "535 5.7.8 no"
        set_routes(gateway, auth_route(hop, auth={**AUTH, "password": "another horse"}))
        send(gateway)
        deferred(gateway)
        told = everything_told(gateway)
        assert "correct horse" not in told and "another horse" not in told
        assert "secret:" in told
        # Nor does it stand anywhere but in its own file, which only the gateway can read.
        holding = []
        for path in gateway.state.rglob("*"):
            if path.is_file() and b" horse" in path.read_bytes():
                holding.append(path)
        assert len(holding) == 2
        for path in holding:
            assert path.parent == gateway.state / "secrets"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((gateway.state / "secrets").stat().st_mode) == 0o700


def test_export_and_apply_are_inverse(certificate):
    with smart_host(certificate) as hop, gateway_to(auth_route(hop)) as gateway:
        name = kept_name(gateway)
        exported = gateway.cli("settings", "export")
        with temporary_folder() as folder:
            (folder / "f").write_text(exported)
            gateway.cli("settings", "apply", folder / "f")
            assert gateway.cli("settings", "export") == exported
            # The password written out again is the same secret: nothing has changed.
            set_routes(gateway, auth_route(hop))
            assert kept_name(gateway) == name
            gateway.cli("settings", "apply", folder / "f")
        send(gateway)
        hop.wait_for(1)
        gateway.restart()
        send(gateway)
        hop.wait_for(2)
        assert {password for _, _, password in hop.logins} == {PASSWORD}


def test_going_back_brings_the_old_password_back(certificate):
    with smart_host(certificate) as hop, gateway_to(auth_route(hop)) as gateway:
        old = gateway.api("GET", "/api/v1/settings/revisions")[1]["items"][0]["revision"]
        set_routes(gateway, auth_route(hop, auth={**AUTH, "password": "wrong"}))
        send(gateway)
        deferred(gateway)
        gateway.cli("settings", "rollback", str(old))
        gateway.cli("queue", "retry", "--all")
        hop.wait_for(1)
        gateway.settle()


def test_a_dry_run_keeps_nothing(certificate):
    with smart_host(certificate) as hop, gateway_to() as gateway:
        status, answer = gateway.api(
            "PATCH", "/api/v1/settings?dry_run=true", {"delivery": {"routes": [auth_route(hop)]}}
        )
        assert status == 200, answer
        assert not (gateway.state / "secrets").exists()


def test_a_password_that_is_gone_keeps_the_gateway_up_and_says_what_to_do(certificate):
    with smart_host(certificate) as hop, gateway_to(auth_route(hop)) as gateway:
        gateway.stop()
        for path in (gateway.state / "secrets").iterdir():
            path.unlink()
        gateway.start(apply=False)
        send(gateway)
        reply = reply_of(gateway)
        assert "is gone from this host" in reply and "write it into the settings" in reply
        assert hop.sessions == 0 or "AUTH" not in hop.steps
        set_routes(gateway, auth_route(hop))
        gateway.cli("queue", "retry", "--all")
        hop.wait_for(1)


def test_with_the_gateway_down(certificate):
    with smart_host(certificate) as hop, gateway_to() as gateway:
        exported = json.loads(gateway.cli("settings", "export"))
        gateway.stop()
        with temporary_folder() as folder:
            exported["delivery"]["routes"] = [auth_route(hop)]
            (folder / "f").write_text(json.dumps(exported))
            gateway.cli("settings", "apply", folder / "f")
            shown = gateway.cli("settings", "export")
            assert PASSWORD not in shown and "correct horse" not in shown
            (folder / "f").write_text(shown)
            gateway.cli("settings", "apply", folder / "f")
        gateway.start(apply=False)
        send(gateway)
        hop.wait_for(1)


# ---- real ones ----


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_a_real_postfix_with_dovecot_behind_it(root, certificate, mechanism):
    with temporary_folder() as folder, Sink() as sink:
        folder.chmod(0o755)
        (folder / "chain").write_text(certificate.chain)
        (folder / "key").write_text(certificate.key_pem)
        with peers.Dovecot(folder / "dovecot", users=("x",), passwords={"gw": "p w"}) as dovecot:
            settings = {
                "smtpd_tls_chain_files": f"{folder}/key, {folder}/chain",
                "smtpd_tls_security_level": "may",
                "smtpd_tls_auth_only": "yes",
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": f"inet:127.0.0.1:{dovecot.auth_port}",
                "smtpd_sasl_mechanism_filter": mechanism,
                "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
                "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
                "mynetworks": "192.0.2.0/24",
            }
            with peers.Postfix(folder / "postfix", sink.port, settings=settings) as postfix:
                wrong = route(postfix, tls="encrypt", auth={"user": "gw", "password": "q w"})
                right = route(postfix, tls="encrypt", auth={"user": "gw", "password": "p w"})
                with gateway_to(wrong) as gateway:
                    send(gateway)
                    assert "535 5.7.8" in reply_of(gateway)
                    set_routes(gateway, right)
                    gateway.cli("queue", "retry", "--all")
                    sink.wait_for(1)
                    gateway.settle()
