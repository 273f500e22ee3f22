"""TLS with clients: STARTTLS offered and required, the implicit port, certificates of clients, limits."""

import contextlib
import json
import os
import socket
import ssl
import threading

import pytest

from lib import BINARY, Client, Postern, Sink, any_certificate, free_port, make_message, split_trace
from lib.pki import make, offer, patch_tls, upload, upload_ca

HANDSHAKES_MAX = 256  # of the gateway, at a time


@pytest.fixture(scope="module")
def authority():
    return make("Test Root", ca=True)


@pytest.fixture(scope="module")
def mx(authority):
    return make("gw.example", names=["gw.example"], issuer=authority)


def trusting(authority, **more) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT, **more)
    context.load_verify_locations(cadata=authority.pem)
    return context


def showing(certificate, folder) -> ssl.SSLContext:
    """A client with a certificate of its own."""
    path = folder / f"{certificate.fingerprint}.pem"
    path.write_text(certificate.key_pem + certificate.chain)
    context = any_certificate()
    context.load_cert_chain(path)
    return context


def log_lines(gateway, event) -> list[dict]:
    gateway.api("POST", "/api/v1/log/flush")
    lines = []
    for line in gateway.log_octets().decode().splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return [line for line in lines if line.get("event") == event]


# ---- STARTTLS ----


@pytest.mark.asan
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_message_over_starttls(authority, mx, version):
    with Sink() as sink, Postern(sink) as gateway:
        with gateway.client() as plain:
            assert "STARTTLS" not in plain.hello().lines
            plain.says("STARTTLS").expect(502, enhanced="5.5.1")
        offer(gateway, mx)
        context = trusting(authority)
        context.minimum_version = context.maximum_version = version
        with gateway.client() as c:
            assert "STARTTLS" in c.hello().lines
            c.says("STARTTLS").expect(220)
            tls = c.shakes_hands(context, name="gw.example")
            word, cipher = tls.version(), tls.cipher()[0]
            assert "STARTTLS" not in c.hello().lines
            c.says("STARTTLS").expect(503, enhanced="5.5.1")
            stored = c.delivers(make_message("hidden", body=b"x" * 70 + b"\r\n"))
            message = sink.wait_for(1)[0]
            live = gateway.json("connections", "list")["items"]
            c.says("QUIT").expect(221)
            c.expect_closed()
        trace, content = split_trace(message.content)
        flat = " ".join(trace.decode().split())
        assert f"(using {word} {cipher})" in flat and " with ESMTPS id " in flat, flat
        assert content == make_message("hidden", body=b"x" * 70 + b"\r\n")
        assert live[0]["tls"] == {
            "version": word,
            "cipher": cipher,
            "certificate": None,
        }
        received = log_lines(gateway, "received")[-1]
        assert received["id"] == stored.text.split()[-1]
        assert (received["tls"], received["cipher"]) == (word, cipher)
        assert log_lines(gateway, "tls")[-1]["tls"] == word


def test_the_session_begins_anew_behind_starttls(mx):
    """RFC 3207 section 4.2: what was said in clear is forgotten."""
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        with gateway.client() as c:
            c.hello("said.in.clear")
            c.says("MAIL FROM:<a@clear.example>").expect(250)
            c.says("RCPT TO:<b@clear.example>").expect(250)
            c.says("STARTTLS").expect(220)
            c.shakes_hands(any_certificate())
            c.says("MAIL FROM:<a@source.example>").expect(503)
            assert gateway.json("connections", "list")["items"][0]["helo"] is None
            c.says("RCPT TO:<b@sink.example>").expect(503)
            c.says("DATA").expect(503)
            c.hello("said.encrypted")
            c.says("DATA").expect(503)
            c.says("MAIL FROM:<a@source.example>").expect(250)


def test_starttls_where_it_does_not_belong(mx):
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        with gateway.client() as c:
            c.says("STARTTLS").expect(503)  # before EHLO
            c.says("HELO client.example").expect(250)
            c.says("STARTTLS").expect(503)
            c.hello()
            c.says("STARTTLS now").expect(501, enhanced="5.5.4")
            c.says("STARTTLS").expect(220)


@pytest.mark.asan
@pytest.mark.parametrize(
    "behind", [b"NOOP\r\n", b"\x16\x03\x01", b"RSET\r\nMAIL FROM:<x@evil.example>\r\n", b"\n", b" "]
)
def test_octets_in_one_packet_with_starttls_are_refused(mx, behind):
    """CVE-2011-0411: what somebody puts behind STARTTLS must not count as said by the client."""
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        with gateway.client() as c:
            c.hello()
            c.sends(b"STARTTLS\r\n" + behind).expect(554, enhanced="5.5.1")
            c.expect_closed()


@pytest.mark.asan
def test_clear_text_within_the_handshake_ends_the_session(mx):
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        with gateway.client() as c:
            c.hello()
            c.says("STARTTLS").expect(220)
            c.says("MAIL FROM:<x@evil.example>")
            assert b"250" not in c.reads_to_the_end()
        gateway.wait_until(lambda: log_lines(gateway, "tls_failed"), "the failure is logged")
        assert "TLS handshake" in log_lines(gateway, "tls_failed")[0]["reason"]
        status = gateway.json("status")
        assert status["tls"]["failed_handshakes"] == 1
        with gateway.client() as c:
            c.starts_tls().says("NOOP").expect(250)


def test_what_comes_with_the_end_of_the_handshake_is_read(mx):
    """A client that sends its EHLO together with its Finished is not left waiting."""
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        with gateway.client() as c:
            c.hello()
            c.says("STARTTLS").expect(220)
            raw = c._socket
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = any_certificate().wrap_bio(incoming, outgoing)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    raw.sendall(outgoing.read())
                    incoming.write(raw.recv(65536))
            tls.write(b"EHLO early.example\r\nNOOP\r\n")
            raw.sendall(outgoing.read())  # the Finished and two commands in one packet
            said = b""
            while not said.endswith(b"250 2.0.0 OK\r\n"):
                incoming.write(raw.recv(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    said += tls.read(65536)
            assert said.startswith(b"250-gw.example\r\n")


def test_large_and_pipelined_over_tls(mx):
    content = make_message("large", body=(b"0123456789" * 7 + b"\r\n") * 140_000)
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, mx)
        with gateway.client() as c:
            c.starts_tls()
            c.delivers(content, "a@source.example")
            c.sends(
                b"MAIL FROM:<a@source.example>\r\nRCPT TO:<b@sink.example>\r\n"
                b"BDAT 18\r\nSubject: chunk\r\n\r\nBDAT 4 LAST\r\nhi\r\nRSET\r\nQUIT\r\n"
            )
            for code in (250, 250, 250, 250, 250, 221):
                c.expect(code)
            c.expect_closed()
        messages = sink.wait_for(2)
        assert sorted(len(split_trace(m.content)[1]) for m in messages) == [22, len(content)]


def test_a_client_that_closes_its_side_is_answered(mx):
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, mx)
        with gateway.client() as c:
            c.starts_tls()
            c.sends(
                b"MAIL FROM:<a@source.example>\r\nRCPT TO:<b@sink.example>\r\nDATA\r\n"
            )
            for code in (250, 250, 354):
                c.expect(code)
            c.sends_message(make_message("last"))
            socket.socket.shutdown(c.tls, socket.SHUT_WR)  # TCP's end without TLS's
            c.expect(250)
        sink.wait_for(1)


# ---- required ----


def test_before_required_tls_only_four_commands(mx):
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, mx, incoming_required=True)
        with gateway.client() as c:
            for line in ("HELO c.example", "MAIL FROM:<a@b.example>", "RSET", "VRFY a", "FOO bar"):
                c.says(line).expect(530, enhanced="5.7.0")
            c.hello()
            c.says("NOOP").expect(250)
            c.sends("BDAT 6 LAST\r\nNOOP\r\n").expect(530, enhanced="5.7.0")
            c.says("DATA").expect(530, enhanced="5.7.0")
            c.says("NOOP").expect(250)
            c.starts_tls().delivers(make_message("one"))
        with gateway.client() as c:
            for line in ("RCPT TO:<a@b.example>", "EXPN a", "HELP", ""):
                c.says(line).expect(530, enhanced="5.7.0")
            c.says("QUIT").expect(221)
        sink.wait_for(1)


def test_saving_required_tells_who_would_be_turned_away(mx):
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, mx)

        def warning():
            status, answer = gateway.api(
                "PATCH",
                "/api/v1/settings?dry_run=true",
                {"connections": {"tls": {"incoming_required": True}}},
            )
            assert status == 200
            return [
                w["detail"]
                for w in answer["warnings"]
                if w["pointer"] == "/connections/tls/incoming_required"
            ]

        assert warning() == []
        with gateway.client() as c:
            c.starts_tls().delivers(make_message("hidden"))
        assert warning() == []
        with gateway.client() as c:
            c.hello()
            for n in range(2):
                c.delivers(make_message(f"clear {n}"))
        assert len(warning()) == 1 and warning()[0].startswith(
            "2 of the 3 messages accepted since the start (67 %) came in clear"
        )
        assert gateway.json("status")["tls"]["messages"] == 1
        patch_tls(gateway, incoming_required=True)
        assert warning() == []  # it is so already


# ---- TLS from the first octet ----


@pytest.mark.asan
def test_the_implicit_port(authority, mx):
    port = free_port()
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, mx, implicit_port=port)
        with Client("127.0.0.1", port, tls=any_certificate()) as c:
            assert "STARTTLS" not in c.hello().lines
            c.says("STARTTLS").expect(503)
            c.delivers(make_message("submissions"))
        trace = split_trace(sink.wait_for(1)[0].content)[0]
        assert b"ESMTPS" in trace
        with Client("127.0.0.1", port, greeting=None) as clear:
            clear.says("EHLO clear.example")
            assert not clear.reads_to_the_end().startswith(b"220")
        with socket.create_connection(("::1", port)):
            pass
        patch_tls(gateway, implicit_port=None)
        gateway.wait_until(lambda: _refused(port), "the port is closed")
        with gateway.client() as c:
            c.starts_tls()


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_an_implicit_port_that_is_taken(mx):
    with socket.create_server(("127.0.0.1", 0)) as taken, Postern(free_port()) as gateway:
        number = taken.getsockname()[1]
        before = gateway.json("settings", "show")
        status, answer = patch_tls(gateway, certificate=upload(gateway, mx), implicit_port=number)
        assert status in (409, 422), answer
        assert [e["pointer"] for e in answer["errors"]] == ["/connections/tls/implicit_port"]
        assert str(number) in answer["errors"][0]["detail"]
        assert gateway.json("settings", "show") == before
        status, answer = patch_tls(gateway, implicit_port=gateway.port)
        assert status == 422
        assert "/connections/tls/implicit_port" in [e["pointer"] for e in answer["errors"]]


def test_an_implicit_port_that_may_not_be_had(mx, tool):
    """Without the right to low ports, as any user that is not root."""
    low = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    if int(open(low).read()) <= 465:
        pytest.fail(f"{low} lets everybody have port 465: nothing can be tried here")
    with Postern(free_port()) as gateway:
        certificate = upload(gateway, mx)
        gateway.stop()
        for path in [gateway.folder, *gateway.folder.rglob("*")]:
            os.chown(path, 65534, 65534)
        real = str(BINARY)
        wrapper = gateway.folder / "unprivileged"
        wrapper.write_text(
            f'#!/bin/sh\nexec {tool("setpriv")} --reuid 65534 --regid 65534 --clear-groups '
            f'--bounding-set=-all --inh-caps=-all {real} "$@"\n'
        )
        wrapper.chmod(0o755)
        with _binary(wrapper):
            gateway.start(apply=False)
        status, answer = patch_tls(gateway, certificate=certificate, implicit_port=465)
        assert status in (403, 409, 422), answer
        assert [e["pointer"] for e in answer["errors"]] == ["/connections/tls/implicit_port"]


@contextlib.contextmanager
def _binary(path):
    import lib.postern as module

    module.BINARY, saved = path, module.BINARY
    try:
        yield
    finally:
        module.BINARY = saved


def test_at_start_an_implicit_port_that_is_taken_leaves_the_others_open(mx):
    port = free_port()
    with Postern(free_port()) as gateway:
        offer(gateway, mx, implicit_port=port)
        assert gateway.stop() == 0
        with socket.create_server(("127.0.0.1", port)):
            gateway.start(apply=False, ready=False)
            gateway.wait_until(lambda: not _refused(gateway.port), "SMTP is served")
            status = gateway.json("status")
            assert status["health"] == "red" and f":{port}" in json.dumps(status["warnings"])
            with gateway.client() as c:
                c.starts_tls()
        gateway.wait_until_ready()
        assert gateway.json("status")["health"] != "red"
        Client("127.0.0.1", port, tls=any_certificate()).close()


# ---- certificates of clients ----


@pytest.mark.asan
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificates_of_clients(mx, version):
    partners = make("Partners", ca=True)
    known = make("mx.partner.example", names=["mx.partner.example"], issuer=partners)
    nameless = make(names=["nameless.example"], issuer=partners)
    stranger = make('CN" (evil)\\', names=["stranger.example"])
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, mx)
        ca = upload_ca(gateway, partners)
        status, answer = patch_tls(gateway, client_certificates="request")
        assert status == 422 and answer["errors"][0]["pointer"] == "/connections/tls/client_ca"
        assert patch_tls(gateway, client_certificates="request", client_ca=ca)[0] == 200

        def sends(certificate):
            context = showing(certificate, gateway.folder) if certificate else any_certificate()
            context.minimum_version = context.maximum_version = version
            sink.clear()
            with gateway.client() as c:
                c.starts_tls(context).delivers(make_message("with a certificate"))
                shown = gateway.json("connections", "list")["items"][0]["tls"]["certificate"]
                text = gateway.cli(
                    "connections",
                    "show",
                    gateway.json("connections", "list")["items"][0]["id"],
                )
                session = c.tls.session
            trace = split_trace(sink.wait_for(1)[0].content)[0].decode()
            received = log_lines(gateway, "received")[-1]
            _resumes(gateway, context, session, shown)
            return shown, " ".join(trace.split()), received, text

        shown, trace, received, text = sends(None)
        assert shown is None and "client " not in trace and "certificate" not in received
        shown, trace, received, text = sends(known)
        assert shown == {"subject": "CN=mx.partner.example", "verified": True, "error": None}
        assert "(verified client CN=mx.partner.example)" in trace
        assert (received["certificate"], received["verified"]) == ("CN=mx.partner.example", "yes")
        assert "verified    CN=mx.partner.example" in text
        shown, trace, received, text = sends(nameless)
        assert shown["subject"] == "DNS:nameless.example" and shown["verified"]
        shown, trace, received, text = sends(stranger)
        assert not shown["verified"] and "self-signed" in shown["error"]
        assert "(unverified client CN=CN" in trace and "evil)" not in trace
        assert received["verified"] == shown["error"]
        assert "unverified" in text

        assert patch_tls(gateway, client_certificates="require")[0] == 200
        assert sends(known)[0]["verified"]
        for certificate in (None, stranger):
            context = showing(certificate, gateway.folder) if certificate else any_certificate()
            context.minimum_version = context.maximum_version = version
            with gateway.client() as c, contextlib.suppress(OSError, AssertionError):
                c.starts_tls(context)
                pytest.fail("a session without a certificate that verifies")
        failures = [line["reason"] for line in log_lines(gateway, "tls_failed")]
        assert any("certificate" in reason for reason in failures), failures

        assert patch_tls(gateway, client_certificates="off", client_ca=None)[0] == 200
        assert sends(known)[0] is None


def _resumes(gateway, context, session, shown):
    """A resumed session brings with it who the client was."""
    with gateway.client() as c:
        c.starts_tls(context, session=session)
        if c.tls.session_reused:
            live = gateway.json("connections", "list")["items"]
            assert [x["tls"]["certificate"] for x in live if x["idle_seconds"] == 0][-1] == shown


def test_other_demands_on_clients_end_what_may_be_resumed(mx, tmp_path):
    """Who got in without a certificate does not get in with a ticket once one is required."""
    partners = make("Partners", ca=True)
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        context = any_certificate()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with gateway.client() as c:
            session = c.starts_tls(context).tls.session
        ca = upload_ca(gateway, partners)
        assert patch_tls(gateway, client_certificates="require", client_ca=ca)[0] == 200
        with gateway.client() as c, pytest.raises(OSError):
            c.hello()
            c.says("STARTTLS").expect(220)
            c.shakes_hands(context, session=session)


# ---- tickets ----


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_on_every_loop_and_across_certificates(authority, version):
    certificates = [make("gw.example", names=["gw.example"], issuer=authority) for _ in range(3)]
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    with Postern(free_port()) as gateway:
        session = None
        for certificate in certificates:
            offer(gateway, certificate)
            for _ in range(8):  # of several loops, each accepts some
                with gateway.client() as c:
                    c.starts_tls(context, name="gw.example", session=session)
                    assert c.tls.session_reused == (session is not None)
                    session = c.tls.session
        with gateway.client() as c:
            c.starts_tls(context, name="gw.example")
            shown = ssl.DER_cert_to_PEM_cert(c.tls.getpeercert(True))
        assert shown == certificates[-1].pem.strip() + "\n"


# ---- limits ----


@pytest.mark.slow
def test_half_open_handshakes_hold_up_nobody_in_clear(mx):
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, mx)
        half_open = []

        def begins(source: str) -> bool:
            client = gateway.client(source=source)
            client.hello()
            reply = client.says("STARTTLS").reply()
            assert (reply.code, reply.enhanced) in ((220, "2.0.0"), (454, "4.7.0"))
            half_open.append(client)
            return reply.code == 220

        # One client takes half of the places at most, and everybody else finds some.
        assert all(begins("127.0.0.1") for _ in range(HANDSHAKES_MAX // 2))
        assert not begins("127.0.0.1")
        half_open.pop().close()
        for n in range(2, 6):
            assert all(begins(f"127.0.0.{n}") for _ in range(HANDSHAKES_MAX // 8))
        gateway.wait_until(
            lambda: gateway.json("status")["tls"]["handshakes_now"] == HANDSHAKES_MAX, "all begun"
        )
        with gateway.client() as c:
            c.hello()
            c.says("STARTTLS").expect(454, enhanced="4.7.0")
            c.delivers(make_message("in clear"))
        sink.wait_for(1)
        for client in half_open[:10]:
            client.close()
        for client in half_open[10:20]:
            client.shakes_hands(any_certificate())
            client.hello()
        gateway.wait_until(
            lambda: gateway.json("status")["tls"]["handshakes_now"] == HANDSHAKES_MAX - 20,
            "places are given back",
        )
        with gateway.client(source="127.0.0.9") as c:
            c.starts_tls().delivers(make_message("encrypted"))
        sink.wait_for(2)
        assert gateway.json("status")["health"] != "red"


def test_an_end_with_handshakes_under_way(mx):
    """SIGTERM while clients shake hands: it ends, and they are not left hanging."""
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        half_open = [gateway.client() for _ in range(4)]
        for client in half_open:
            client.hello()
            client.says("STARTTLS").expect(220)
        done = threading.Thread(target=gateway.terminate)
        done.start()
        assert gateway.wait() == 0
        done.join()
        for client in half_open:
            assert client.reads_to_the_end() == b""
