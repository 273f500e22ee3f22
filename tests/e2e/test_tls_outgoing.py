"""TLS towards next hops: what is demanded is kept, whatever the next hop does, and told."""

import json
import os
import ssl
import sys

import pytest

from lib import ROOT, Hop, Postern, Sink, make_message, pki, temporary_folder
from test_relay import deferred, send

sys.path.insert(0, str(ROOT / "bench"))
import peers  # noqa: E402

pytestmark = pytest.mark.asan
MAIL_STEPS = {"MAIL", "RCPT", "DATA", "BDAT", "."}


@pytest.fixture(scope="module")
def root():
    return pki.make("Test Root", ca=True)


@pytest.fixture(scope="module")
def other_root():
    return pki.make("Another Root", ca=True)


@pytest.fixture(scope="module")
def good(root):
    return pki.make("hop", names=["127.0.0.1", "localhost"], issuer=root)


def server(certificate, **more) -> ssl.SSLContext:
    """A context of Python's with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with temporary_folder() as folder:
        (folder / "chain").write_text(certificate.chain)
        (folder / "key").write_text(certificate.key_pem)
        context.load_cert_chain(folder / "chain", folder / "key")
    for name, value in more.items():
        setattr(context, name, value)
    return context


def old_server(certificate) -> ssl.SSLContext:
    context = server(certificate)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def route(hop, domain="*", host="127.0.0.1", **more) -> dict:
    return {"domain": domain, "next_hops": [{"host": host, "port": hop.port}], **more}


def gateway_to(*routes, **tls) -> Postern:
    return Postern(
        settings={"delivery": {"routes": list(routes)}, "connections": {"tls": tls} if tls else {}}
    )


def set_routes(gateway, *routes) -> None:
    status, answer = gateway.api("PATCH", "/api/v1/settings", {"delivery": {"routes": list(routes)}})
    assert status == 200, answer


def events(gateway, name: str) -> list[dict]:
    """The log lines of that event."""
    gateway.api("POST", "/api/v1/log/flush")
    lines = (json.loads(x) for x in gateway.log_octets().splitlines() if x.startswith(b"{"))
    return [line for line in lines if line.get("event") == name]


def delivered(gateway) -> dict:
    gateway.settle()
    return events(gateway, "delivered")[-1]


def reply_of(gateway) -> str:
    return deferred(gateway)[0]["recipients"][0]["reply"]


def check(gateway, hop, *words, status=0, host="127.0.0.1") -> str:
    return gateway.cli("tls", "check", f"{host}:{hop.port}", *words, status=status)


# ---- met ----


def test_opportunistic_takes_what_is_offered_and_says_what_it_was(good):
    with Hop(tls=server(good)) as hop, gateway_to(route(hop), outgoing=True) as gateway:
        send(gateway)
        hop.wait_for(1)
        assert not MAIL_STEPS & set(hop.plain)
        event = delivered(gateway)
        assert event["tls"] == "TLSv1.3" and event["cipher"].startswith("TLS_")
        assert event["tls_peer"] == "CN=hop"
        assert event["tls_verified"] not in ("", "yes")  # nobody vouches for the test's root
        metrics = gateway.api("GET", "/metrics")[1]
        assert 'postern_delivery_tls_handshakes_total{result="unverified"} 1\n' in metrics
        assert "postern_recipients_delivered_tls_total 1\n" in metrics


def test_it_is_off_by_default_and_for_a_route_that_says_none(good):
    with Hop(tls=server(good)) as hop, gateway_to(route(hop)) as gateway:
        send(gateway)
        hop.wait_for(1)
        assert "STARTTLS" not in hop.steps
        assert "tls" not in delivered(gateway)
        status, _ = pki.patch_tls(gateway, outgoing=True)
        assert status == 200
        set_routes(gateway, route(hop, tls="none"))
        send(gateway)
        hop.wait_for(2)
        assert "STARTTLS" not in hop.steps


def test_what_does_not_offer_it_gets_it_in_clear_where_that_is_opportunistic():
    with Hop() as hop, gateway_to(route(hop), outgoing=True) as gateway:
        send(gateway)
        hop.wait_for(1)
        event = delivered(gateway)
        assert (event["tls"], event["tls_reason"]) == ("no", "STARTTLS is not offered")


def test_verified_by_the_ca_of_the_route(good, root):
    with Hop(tls=server(good)) as hop, gateway_to(route(hop)) as gateway:
        ca = pki.upload_ca(gateway, root)
        set_routes(gateway, route(hop, tls="verify", ca=ca))
        send(gateway)
        hop.wait_for(1)
        assert not MAIL_STEPS & set(hop.plain)
        assert delivered(gateway)["tls_verified"] == "yes"
        status, problem = gateway.api("DELETE", f"/api/v1/tls/certificates/{ca}")
        assert status == 409, problem
        assert "verify" in check(gateway, hop)


def test_verified_by_the_trust_store_of_the_system(good, root, monkeypatch):
    with temporary_folder() as folder:
        (folder / "store.pem").write_text(root.pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "store.pem"))
        with Hop(tls=server(good)) as hop, gateway_to(route(hop, tls="verify")) as gateway:
            send(gateway)
            hop.wait_for(1)
            assert delivered(gateway)["tls_verified"] == "yes"
            assert "yes, chain and name" in check(gateway, hop)


def test_the_name_goes_into_sni_and_sessions_are_resumed(good, root):
    with Hop(tls=server(good)) as hop, gateway_to(route(hop)) as gateway:
        ca = pki.upload_ca(gateway, root)
        set_routes(gateway, route(hop, host="localhost", tls="verify", ca=ca))
        hop.extensions = ("PIPELINING", "LIMITS MAILMAX=1")
        for n in range(3):
            send(gateway)
            hop.wait_for(n + 1)
            gateway.settle()
        assert [name for _, name, _ in hop.agreed] == ["localhost"] * 3
        assert [resumed for _, _, resumed in hop.agreed] == [False, True, True]
        assert "postern_delivery_tls_resumed_total 2\n" in gateway.api("GET", "/metrics")[1]


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_ten_megabytes_arrive_whole(good, version):
    context = server(good)
    context.maximum_version = context.minimum_version = getattr(ssl.TLSVersion, version)
    with Hop(tls=context) as hop, gateway_to(route(hop, tls="encrypt")) as gateway:
        message = make_message("big", (b"x" * 76 + b"\r\n") * ((10 << 20) // 78))
        for _ in range(2):  # from memory, and read back
            send(gateway, content=message)
        for arrived in hop.wait_for(2, 60):
            assert arrived.content.endswith(message)


# ---- not met: never in clear ----


def _garbage(connection):
    connection.recv(4096)
    connection.sendall(b"220 what do you mean?\r\n" * 50)


def _hang_up(connection):
    connection.recv(4096)


BROKEN = {
    "not offered": lambda good: {},
    "454": lambda good: {"tls": server(good), "answers": {"STARTTLS": "454 4.7.0 not now"}},
    "garbage": lambda good: {"handshake": _garbage},
    "hangs up": lambda good: {"handshake": _hang_up},
    "plaintext behind 220": lambda good: {
        "tls": server(good),
        "answers": {"STARTTLS": b"220 go\r\n250 injected\r\n"},
    },
    "TLS 1.0 only": lambda good: {"tls": old_server(good)},
}
REASON = {
    "not offered": "does not offer STARTTLS",
    "454": "454 4.7.0 not now",
    "garbage": "handshake",
    "hangs up": "closed the connection",
    "plaintext behind 220": "spoke before the TLS handshake",
    "TLS 1.0 only": "handshake",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("demand", ["encrypt", "verify"])
def test_a_demand_that_is_not_met_defers_and_sends_nothing(good, demand, kind):
    with Hop(**BROKEN[kind](good)) as hop, gateway_to(route(hop, tls=demand)) as gateway:
        send(gateway)
        reply = reply_of(gateway)
        assert reply.startswith("4.7.") and REASON[kind] in reply
        if kind != "plaintext behind 220":
            assert demand in reply and "postern tls check" in reply
            assert "postern_delivery_tls_unmet_total 0\n" not in gateway.api("GET", "/metrics")[1]
        assert not MAIL_STEPS & set(hop.steps) and hop.messages == []
        check(gateway, hop, status=1)
        answer = gateway.api("POST", "/api/v1/tls/check", {"next_hop": f"127.0.0.1:{hop.port}"})[1]
        assert answer["met"] is False and answer["demands"][0]["tls"] == demand
        assert answer["starttls"] is (kind != "not offered") and answer["secured"] is False
        assert REASON[kind] in answer["demands"][0]["detail"]
        # Mended, it goes out at the next attempt.
        hop.tls, hop.handshake = server(good), None
        hop.answers.clear()
        if demand == "verify":
            set_routes(gateway, route(hop, tls="encrypt"))
        gateway.cli("queue", "retry", "--all")
        hop.wait_for(1)
        assert not MAIL_STEPS & set(hop.plain)


CERTIFICATES = {
    "expired": (lambda root: pki.make("h", names=["127.0.0.1"], issuer=root, days=(-9, -1)), "expired"),
    "not yet valid": (
        lambda root: pki.make("h", names=["127.0.0.1"], issuer=root, days=(2, 9)),
        "not yet valid",
    ),
    "wrong name": (lambda root: pki.make("h", names=["other.example"], issuer=root), "mismatch"),
    "self-signed": (lambda root: pki.make("h", names=["127.0.0.1"]), "self-signed"),
    "unknown CA": (
        lambda root: pki.make("h", names=["127.0.0.1"], issuer=pki.make("Nobody", ca=True)),
        "unable to get local issuer",
    ),
}


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_certificate_that_does_not_verify(root, kind):
    make, reason = CERTIFICATES[kind]
    with Hop(tls=server(make(root))) as hop, gateway_to(route(hop)) as gateway:
        ca = pki.upload_ca(gateway, root)
        set_routes(gateway, route(hop, tls="verify", ca=ca))
        send(gateway)
        reply = reply_of(gateway)
        assert reply.startswith("4.7.5 ") and reason in reply and "verify" in reply
        assert not MAIL_STEPS & set(hop.steps)
        check(gateway, hop, status=1)
        answer = gateway.api("POST", "/api/v1/tls/check", {"next_hop": f"127.0.0.1:{hop.port}"})[1]
        assert answer["secured"] and not answer["met"] and reason in answer["demands"][0]["detail"]
        assert answer["certificate"]["fingerprint"] and answer["demands"][0]["ca"] == ca
        # Whoever only wants it encrypted takes it.
        set_routes(gateway, route(hop, tls="encrypt"))
        gateway.cli("queue", "retry", "--all")
        hop.wait_for(1)
        assert delivered(gateway)["tls_verified"] != "yes" and not MAIL_STEPS & set(hop.plain)


def test_one_next_hop_under_two_demands_shares_nothing(root, other_root):
    """A session agreed where nobody looked at the certificate lets nobody in who looks."""
    stranger = pki.make("h", names=["127.0.0.1"], issuer=other_root)
    with Hop(tls=server(stranger)) as hop, gateway_to(route(hop)) as gateway:
        ca, other = pki.upload_ca(gateway, root), pki.upload_ca(gateway, other_root)
        set_routes(
            gateway,
            route(hop, "easy.example", tls="encrypt"),
            route(hop, "strict.example", tls="verify", ca=ca),
            route(hop, "right.example", tls="verify", ca=other),
        )
        send(gateway, "a@easy.example")
        hop.wait_for(1)
        send(gateway, "b@strict.example")
        assert "4.7.5" in reply_of(gateway)
        send(gateway, "c@right.example")
        hop.wait_for(2)
        assert [m.recipients for m in hop.messages] == [["a@easy.example"], ["c@right.example"]]
        assert [resumed for _, _, resumed in hop.agreed].count(True) == 0
        names = {r["destination"] for m in gateway.queue() for r in m["recipients"]}
        assert names == {f"127.0.0.1:{hop.port}/tls=verify/ca={ca}"}


# ---- opportunistic: in clear once, at once ----


@pytest.mark.parametrize("kind", ["garbage", "hangs up", "TLS 1.0 only"])
def test_a_handshake_that_fails_is_done_without_where_nobody_demands_it(good, kind):
    with Hop(**BROKEN[kind](good)) as hop, gateway_to(route(hop), outgoing=True) as gateway:
        send(gateway)
        hop.wait_for(1)
        gateway.settle()
        assert hop.steps.count("STARTTLS") == 1 and hop.sessions == 2
        failed = events(gateway, "tls_fallback")
        assert len(failed) == 1 and "in clear" in failed[0]["text"]
        event = events(gateway, "delivered")[-1]
        assert event["tls"] == "no" and event["tls_reason"] == "TLS failed lately"
        assert not events(gateway, "deferred")
        # The next message does not fail first.
        gateway.wait_until(
            lambda: "postern_delivery_connections 0\n" in gateway.api("GET", "/metrics")[1],
            "the connection is closed",
        )
        send(gateway)
        hop.wait_for(2)
        assert hop.steps.count("STARTTLS") == 1
        assert "postern_delivery_tls_fallbacks_total 1\n" in gateway.api("GET", "/metrics")[1]
        assert "mail is sent in clear" in check(gateway, hop)


def test_a_refusal_of_starttls_goes_on_in_clear_on_the_same_connection(good):
    with Hop({"STARTTLS": "454 4.7.0 not now"}, tls=server(good)) as hop, gateway_to(
        route(hop), outgoing=True
    ) as gateway:
        send(gateway)
        hop.wait_for(1)
        assert hop.sessions == 1 and delivered(gateway)["tls_reason"] == "STARTTLS was refused"


def test_octets_behind_the_answer_to_starttls_are_taken_from_nobody(good):
    """Not even where TLS is opportunistic: somebody is in between."""
    with Hop(
        {"STARTTLS": b"220 go\r\n250-hop\r\n250 AUTH\r\n"}, tls=server(good)
    ) as hop, gateway_to(route(hop), outgoing=True) as gateway:
        send(gateway)
        assert "spoke before the TLS handshake" in reply_of(gateway)
        assert not MAIL_STEPS & set(hop.steps)


def test_a_client_certificate_demanded_after_the_handshake_is_a_failure_of_tls(good, root):
    """TLS 1.3 tells a client only after it believes to be in."""
    context = server(good)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=root.pem)
    with Hop(tls=context) as hop, gateway_to(route(hop), outgoing=True) as gateway:
        send(gateway)
        hop.wait_for(1)
        assert set(hop.plain) >= MAIL_STEPS - {"BDAT"}


# ---- changes and the rest ----


def test_a_change_counts_for_new_connections(good):
    with Hop(tls=server(good)) as hop, gateway_to(route(hop)) as gateway:
        send(gateway)
        hop.wait_for(1)
        status, _ = pki.patch_tls(gateway, outgoing=True)
        assert status == 200
        gateway.wait_until(
            lambda: "postern_delivery_connections 0\n" in gateway.api("GET", "/metrics")[1],
            "the connection of before is closed",
        )
        send(gateway)
        hop.wait_for(2)
        assert delivered(gateway)["tls"] == "TLSv1.3"


def test_a_ca_that_is_not_there_is_refused(good):
    with Hop(tls=server(good)) as hop, gateway_to(route(hop)) as gateway:
        for ca in ("0123456789abcdef", pki.upload(gateway, good)):
            status, problem = gateway.api(
                "PATCH",
                "/api/v1/settings",
                {"delivery": {"routes": [route(hop, tls="verify", ca=ca)]}},
            )
            assert status == 422
            assert problem["errors"][0]["pointer"] == "/delivery/routes/0/ca"


def test_a_ca_that_is_damaged_makes_its_mail_wait_and_is_tried_again(good, root):
    with Hop(tls=server(good)) as hop, gateway_to(route(hop)) as gateway:
        ca = pki.upload_ca(gateway, root)
        set_routes(gateway, route(hop, tls="verify", ca=ca))
        path = gateway.state / "tls" / f"{ca}.ca.pem"
        octets = path.read_bytes()
        assert gateway.stop() == 0
        path.write_bytes(b"damaged")
        gateway.start(apply=False)
        warnings = str(gateway.json("status"))
        assert "verify" in warnings
        send(gateway)
        assert ca in reply_of(gateway) and not MAIL_STEPS & set(hop.steps)
        path.write_bytes(octets)
        gateway.wait_until(lambda: "waits" not in str(gateway.json("status")), "the CA is back")
        gateway.cli("queue", "retry", "--all")
        hop.wait_for(1)
        assert delivered(gateway)["tls_verified"] == "yes"


def test_the_check_says_what_cannot_be_checked():
    with Hop() as hop, gateway_to(route(hop, "here.example"), outgoing=True) as gateway:
        assert "not offered" in check(gateway, hop)
        assert "met" in check(gateway, hop, "--domain", "here.example")
        gateway.cli("tls", "check", "127.0.0.1:1", status=1)
        assert "HOST" in gateway.cli("tls", "check", "a b:25", status=1)
        for body in ({}, {"next_hop": 1}, {"next_hop": "a", "more": 1}):
            assert gateway.api("POST", "/api/v1/tls/check", body)[0] == 422
        answer = gateway.api(
            "POST", "/api/v1/tls/check", {"next_hop": f"127.0.0.1:{hop.port}", "domain": "x.y"}
        )[1]
        assert answer["met"] is False and "no route" in answer["demands"][0]["detail"]


def test_the_check_speaks_lmtp_where_the_route_does(good):
    with Hop(tls=server(good), lmtp=True) as hop:
        with gateway_to(route(hop, "*", protocol="lmtp", tls="encrypt")) as gateway:
            assert "TLSv1.3" in check(gateway, hop)
            assert "EHLO" not in "".join(hop.transcript)


@pytest.mark.skipif(os.geteuid() != 0, reason="Postfix runs in a namespace")
def test_postfix_as_the_next_hop(good, root):
    with temporary_folder() as folder:
        folder.chmod(0o755)
        (folder / "chain.pem").write_text(good.chain)
        (folder / "key.pem").write_text(good.key_pem)
        settings = {
            "smtpd_tls_security_level": "encrypt",
            "smtpd_tls_chain_files": f"{folder}/key.pem, {folder}/chain.pem",
            "smtpd_tls_loglevel": "1",
        }
        with Sink() as sink, peers.Postfix(
            folder / "postfix", sink.port, settings=settings
        ) as postfix, gateway_to(route(postfix)) as gateway:
            ca = pki.upload_ca(gateway, root)
            set_routes(gateway, route(postfix, tls="verify", ca=ca))
            messages = [make_message(f"to Postfix {n}") for n in range(20)]
            for message in messages:
                send(gateway, content=message)
            sink.wait_for(20, 60)
            event = delivered(gateway)
            assert event["tls"] == "TLSv1.3" and event["tls_verified"] == "yes"
            assert "met: the chain and the name verify" in check(gateway, postfix)
