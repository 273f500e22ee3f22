"""Certificates of the SMTP server: uploading, checking, putting into force, swapping, losing."""

import base64
import json
import os
import ssl
import stat
import subprocess
import threading

import pytest
from cryptography.hazmat.primitives import hashes

from lib import Postern, ROOT, Sink, any_certificate, free_port, make_message
from lib.pki import body, make, offer, patch_tls, upload, upload_ca

SWAPS = int(os.environ.get("POSTERN_TLS_SWAPS", "40"))


@pytest.fixture(scope="module")
def pki():
    root = make("Test Root", ca=True)
    middle = make("Test Intermediate", ca=True, issuer=root)
    return root, middle, make("gw.example", names=["gw.example"], issuer=middle, use="server")


def served(gateway, context=None) -> str:
    """SHA-256 of the certificate that a client gets."""
    with gateway.client() as c:
        octets = c.starts_tls(context).tls.getpeercert(True)
        c.says("QUIT").expect(221)
    return hashes_of(octets)


def hashes_of(der: bytes) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()


def codes(certificate: dict) -> set[str]:
    return {finding["code"] for finding in certificate["findings"]}


# ---- uploading ----


def test_an_upload_is_staged_and_the_settings_put_it_into_force(pki):
    root, middle, mx = pki
    with Postern(free_port()) as gateway:
        status, made = gateway.api("POST", "/api/v1/tls/certificates", body(mx))
        assert status == 201
        assert made["subject"] == "CN=gw.example" and made["names"] == ["gw.example"]
        assert made["issuer"] == "CN=Test Intermediate" and made["key_type"] == "ECDSA P-256"
        assert made["chain"] == ["CN=Test Intermediate"] and not made["in_use"]
        assert made["fingerprint"] == mx.fingerprint
        assert codes(made) == {"chain_incomplete"}  # nobody here knows the root
        assert gateway.api("POST", "/api/v1/tls/certificates", body(mx))[1]["id"] == made["id"]
        with gateway.client() as c:
            assert "STARTTLS" not in c.hello().lines
        path = f"/api/v1/tls/certificates/{made['id']}"
        assert gateway.api("GET", path)[1]["fingerprint"] == mx.fingerprint
        listed = gateway.api("GET", "/api/v1/tls/certificates")[1]
        assert listed["total"] == 1 and listed["next"] is None
        assert gateway.api("GET", "/api/v1/tls/certificates/0123456789abcdef")[0] == 404
        assert gateway.api("GET", "/api/v1/tls/certificates/..%2f..%2fsettings.db")[0] == 404

        assert patch_tls(gateway, incoming=True, certificate=made["id"])[0] == 200
        assert served(gateway) == mx.fingerprint
        status, answer = gateway.api("DELETE", path)
        assert status == 409 and "/connections/tls/certificate" in answer["detail"]
        assert patch_tls(gateway, incoming=False, certificate=None)[0] == 200
        assert gateway.api("DELETE", path)[0] == 204
        assert gateway.api("DELETE", path)[0] == 404
        assert gateway.api("GET", path)[0] == 404
        status, answer = patch_tls(gateway, certificate=made["id"])
        assert status == 422 and answer["errors"][0]["pointer"] == "/connections/tls/certificate"
        status, answer = patch_tls(gateway, incoming=True)
        assert status == 422 and answer["errors"][0]["pointer"] == "/connections/tls/incoming"


def test_a_ca_is_no_certificate_of_a_server_nor_the_other_way_round(pki):
    root, middle, mx = pki
    with Postern(free_port()) as gateway:
        ca, server = upload_ca(gateway, root, middle), upload(gateway, mx)
        status, answer = patch_tls(gateway, certificate=ca)
        assert status == 422 and "is a CA" in answer["errors"][0]["detail"]
        status, answer = patch_tls(gateway, client_certificates="require", client_ca=server)
        assert status == 422 and answer["errors"][0]["pointer"] == "/connections/tls/client_ca"
        status, answer = gateway.api(
            "POST", "/api/v1/tls/certificates", {"ca_certificate": mx.pem}
        )
        assert status == 422 and answer["errors"][0]["pointer"] == "/ca_certificate"


@pytest.mark.parametrize(
    "sent, pointer, word",
    [
        ({}, "/certificate", "missing"),
        ({"certificat": "x"}, "/certificat", "not known"),
        ({"certificate": 3}, "/certificate", "must be a string"),
        ({"certificate": "PEM"}, "/private_key", "no private_key"),
        ({"private_key": "KEY"}, "/certificate", "no certificate"),
        ({"certificate": "PEM", "private_key": "OTHER"}, "/private_key", "does not belong"),
        ({"certificate": "KEY", "private_key": "PEM"}, "/certificate", "private key"),
        ({"certificate": "CSR", "private_key": "KEY"}, "/certificate", "request"),
        ({"certificate": "PEM", "private_key": "LOCKED"}, "/passphrase", "encrypted"),
        (
            {"certificate": "PEM", "private_key": "LOCKED", "passphrase": "wrong"},
            "/passphrase",
            "does not open",
        ),
        ({"certificate": "PEM", "private_key": "nonsense"}, "/private_key", "can be read"),
        ({"certificate": "nonsense", "private_key": "KEY"}, "/certificate", "can be read"),
        ({"certificate": "", "private_key": "KEY"}, "/certificate", "is empty"),
        ({"certificate": "WEAK", "private_key": "WEAKKEY"}, "/private_key", "1024 bits"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(pki, sent, pointer, word):
    _, _, mx = pki
    weak = make("weak.example", names=["weak.example"], key="rsa1024")
    put = {
        "PEM": mx.pem,
        "KEY": mx.key_pem,
        "OTHER": make("other").key_pem,
        "LOCKED": mx.key_octets(passphrase="right").decode(),
        "WEAK": weak.pem,
        "WEAKKEY": weak.key_pem,
        "CSR": "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n",
    }
    with Postern(free_port()) as gateway:
        given = {k: put.get(v, v) if isinstance(v, str) else v for k, v in sent.items()}
        for verb, path in (("POST", "/api/v1/tls/certificates"), ("PUT", "/api/v1/tls/server")):
            status, answer = gateway.api(verb, path, given)
            assert status == 422, answer
            assert (pointer, True) in [
                (e["pointer"], word in e["detail"]) for e in answer["errors"]
            ], answer
        assert gateway.api("GET", "/api/v1/tls/certificates")[1]["items"] == []
        assert gateway.json("settings", "show")["connections"]["tls"]["certificate"] is None


# ---- findings ----


FINDINGS = {
    "expired": dict(names=["gw.example"], days=(-60, -1)),
    "expires_soon": dict(names=["gw.example"], days=(-60, 20)),
    "not_yet_valid": dict(names=["gw.example"], days=(5, 60)),
    "name_mismatch": dict(names=["mail.example", "192.0.2.1"]),
    "no_names": dict(),
    "not_for_servers": dict(names=["gw.example"], use="client"),
    "weak_signature": dict(names=["gw.example"], digest=hashes.SHA1()),
    "rare_key": dict(names=["gw.example"], key="ed25519"),
    "is_an_authority": dict(names=["gw.example"], ca=True),
    "chain_incomplete": dict(names=["gw.example"]),
}


def test_findings_say_what_clients_will_mind(pki):
    root, middle, good = pki
    short = make("Short", ca=True, issuer=root, days=(-10, 40))
    with Postern(free_port()) as gateway:

        def found(certificate, **more):
            status, answer = gateway.api(
                "POST", "/api/v1/tls/certificates", {**body(certificate), **more}
            )
            assert status == 201, answer
            for finding in answer["findings"]:
                assert finding["severity"] == "warning"
                assert finding["detail"].endswith(".") and finding["remedy"].endswith(".")
            return codes(answer)

        for code, wish in FINDINGS.items():
            assert code in found(make("gw.example", issuer=middle, **wish)), code
        assert found(make("gw.example", names=["gw.example"])) == {"self_signed"}
        assert found(good, ca_certificate=root.pem) == {"private_authority"}
        outlives = make("gw.example", names=["gw.example"], issuer=short)
        assert found(outlives, ca_certificate=root.pem) == {"private_authority", "outlives_issuer"}
        stray = make("Stray", ca=True)
        assert "not_in_chain" in found(good, ca_certificate=root.pem + stray.pem)
        rsa = make("gw.example", names=["gw.example"], key="rsa", issuer=middle)
        assert found(rsa, ca_certificate=root.pem) == {"private_authority"}
        renamed = {"identity": {"hostname": "gw.corp.example"}}
        assert gateway.api("PATCH", "/api/v1/settings", renamed)[0] == 200
        for names, fits in ((["*.corp.example"], True), (["corp.example", "*.example"], False)):
            wild = make("w", names=names, issuer=middle)
            assert ("name_mismatch" not in found(wild)) == fits


def test_an_expired_certificate_needs_a_yes(pki, tmp_path):
    _, middle, _ = pki
    old = make("gw.example", names=["gw.example"], days=(-60, -1), issuer=middle)
    (tmp_path / "old.pem").write_text(old.chain)
    (tmp_path / "old.key").write_text(old.key_pem)
    words = ["tls", "install", "--cert", tmp_path / "old.pem", "--key", tmp_path / "old.key"]
    with Postern(free_port()) as gateway:
        status, answer = gateway.api("PUT", "/api/v1/tls/server", body(old))
        assert status == 422 and answer["errors"][0]["pointer"] == "/connections/tls/certificate"
        assert "expired_certificate" in json.dumps(answer)
        assert "expired" in gateway.cli(*words, status=1)
        assert gateway.json("settings", "show")["connections"]["tls"]["certificate"] is None
        status, answer = gateway.api(
            "PUT", "/api/v1/tls/server", {**body(old), "confirm": ["expired_certificate"]}
        )
        assert status == 200
        assert patch_tls(gateway, certificate=None)[0] == 200
        assert "is in force" in gateway.cli(*words, "--yes")
        # In force already: another change needs no second yes.
        assert patch_tls(gateway, incoming=True)[0] == 200
        assert served(gateway) == old.fingerprint
        status = gateway.json("status")
        assert status["health"] == "red"
        assert "expired" in json.dumps(status["warnings"])
        assert status["tls"]["certificates"][0]["days_left"] <= 0


# ---- tls install ----


def spellings(pki):
    root, middle, _ = pki
    ec = make("gw.example", names=["gw.example"], issuer=middle)
    rsa = make("gw.example", names=["gw.example"], key="rsa", issuer=middle)
    yield "PEM, PKCS#8", ec, ec.chain, ec.key_pem, None, None
    yield "PEM, PKCS#1", rsa, rsa.chain, rsa.key_octets("traditional"), None, None
    yield "PEM, SEC 1", ec, ec.chain, ec.key_octets("traditional"), None, None
    yield "DER", ec, ec.der, ec.key_octets(der=True), middle.der, None
    yield "DER, PKCS#1", rsa, rsa.der, rsa.key_octets("traditional", der=True), middle.pem, None
    yield "DER, SEC 1", ec, ec.der, ec.key_octets("traditional", der=True), middle.pem, None
    yield "base64", ec, base64.encodebytes(ec.der), base64.b64encode(
        ec.key_octets(der=True)
    ), middle.pem, None
    yield "encrypted PKCS#8", ec, ec.chain, ec.key_octets(passphrase="s3cret"), None, "s3cret"
    yield "encrypted DER", rsa, rsa.chain, rsa.key_octets(
        passphrase="s3cret", der=True
    ), None, "s3cret"
    yield "encrypted PKCS#1", rsa, rsa.chain, rsa.key_octets(
        "traditional", passphrase="s3cret"
    ), None, "s3cret"
    yield "the wrong order", ec, root.pem + middle.pem + ec.pem, ec.key_pem, None, None
    yield "all in one file", ec, None, ec.key_pem + middle.pem + root.pem + ec.pem, None, None
    yield "the CA apart", ec, ec.pem, ec.key_pem, root.pem + middle.pem, None
    yield "CRLF and text around", ec, "mx\r\n" + ec.chain.replace(
        "\n", "\r\n"
    ) + "\r\n# end", ec.key_pem.replace("\n", "\r\n"), None, None


def test_install_takes_every_spelling(pki, tmp_path):
    root = pki[0]
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    strict.load_verify_locations(cadata=root.pem)
    with Postern(free_port()) as gateway:
        for number, (name, want, certificate, key, ca, passphrase) in enumerate(spellings(pki)):
            words = ["tls", "install"]
            for option, octets in (
                ("--cert", certificate if certificate is not None else key),
                ("--key", key),
                ("--ca", ca),
                ("--passphrase-file", passphrase and f"{passphrase}\n"),
            ):
                if octets is not None:
                    path = tmp_path / f"{number}{option}"
                    path.write_bytes(octets.encode() if isinstance(octets, str) else octets)
                    words += [option, path]
            said = gateway.cli(*words)
            assert "is in force since revision" in said, name
            if number == 0:
                assert "STARTTLS is offered once connections.tls.incoming is true" in said
                assert patch_tls(gateway, incoming=True)[0] == 200
            else:
                assert "STARTTLS is offered once" not in said
            with gateway.client() as c:
                c.starts_tls(strict, name="gw.example")  # the chain is whole, and in order
                assert hashes_of(c.tls.getpeercert(True)) == want.fingerprint, name
        shown = gateway.cli("tls", "show")
        assert "this is what is configured" in shown and "CN=gw.example" in shown
        answer = gateway.json("tls", "show")
        assert answer["matches"] is True and answer["served"]["version"] == "TLSv1.3"
        assert "yes" in gateway.cli("tls", "list")
        used, unused = [], []
        for item in gateway.json("tls", "list")["items"]:
            (used if item["in_use"] else unused).append(item["id"])
        assert len(used) == 1
        assert "in use" in gateway.cli("tls", "remove", used[0], status=1)
        for one in unused:
            gateway.cli("tls", "remove", one)
        assert [i["id"] for i in gateway.json("tls", "list")["items"]] == used


def test_install_says_what_is_wrong(pki, tmp_path):
    _, _, mx = pki
    (tmp_path / "c").write_text(mx.chain)
    (tmp_path / "k").write_text(mx.key_pem)
    (tmp_path / "big").write_bytes(b"x" * (2 << 20))
    with Postern(free_port()) as gateway:
        for words, word in (
            (["--cert", tmp_path / "none", "--key", tmp_path / "k"], "none"),
            (["--cert", tmp_path / "c", "--key", tmp_path / "c"], "no private key"),
            (["--cert", tmp_path / "big", "--key", tmp_path / "k"], "larger than 1 MiB"),
            (["--cert", tmp_path / "c", "--key", "/proc/self/mem"], "/proc/self/mem"),
        ):
            said = gateway.cli("tls", "install", *words, status=1)
            assert word in said and said.count("\n") == 1, said
        gateway.cli("tls", "install", "--cert", tmp_path / "c", status=2)
        gateway.cli("tls", "upload", "--cert", tmp_path / "c", status=2)
        said = gateway.cli("tls", "upload", "--cert", tmp_path / "c", "--key", tmp_path / "k")
        assert "is uploaded" in said
        assert gateway.json("settings", "show")["connections"]["tls"]["certificate"] is None
        (tmp_path / "ca").write_text(pki[0].pem)
        said = gateway.json("tls", "upload", "--ca", tmp_path / "ca")
        assert said["kind"] == "ca"


def test_one_certificate_per_kind_of_key(pki):
    """Each client gets the one that it can check; a renewal replaces the one of its kind."""
    root, middle, ecdsa = pki
    rsa = make("gw.example", names=["gw.example"], key="rsa", issuer=middle)
    with Postern(free_port()) as gateway:
        offer(gateway, rsa, ecdsa)

        def gets(ciphers):
            context = any_certificate()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
            return served(gateway, context)

        assert served(gateway) == ecdsa.fingerprint
        assert gets("ECDHE-RSA-AES128-GCM-SHA256") == rsa.fingerprint
        assert gets("ECDHE-ECDSA-AES128-GCM-SHA256") == ecdsa.fingerprint
        answer = gateway.json("tls", "show")
        looks = [answer["served"], *answer["also_served"]]
        assert {(x["key_type"], x["certificate"]["fingerprint"]) for x in looks} == {
            ("RSA", rsa.fingerprint),
            ("ECDSA", ecdsa.fingerprint),
        }
        assert answer["matches"] is True

        renewed = make("gw.example", names=["gw.example"], key="rsa", issuer=middle)
        status, answer = gateway.api("PUT", "/api/v1/tls/server", body(renewed))
        assert status == 200 and answer["certificate"]["fingerprint"] == renewed.fingerprint
        assert gets("ECDHE-RSA-AES128-GCM-SHA256") == renewed.fingerprint
        assert gets("ECDHE-ECDSA-AES128-GCM-SHA256") == ecdsa.fingerprint
        names = gateway.json("settings", "show")["connections"]["tls"]["certificate"]
        assert len(names) == 2
        for item in gateway.json("tls", "list")["items"]:
            assert item["in_use"] == (item["fingerprint"] != rsa.fingerprint)
        # Going back takes what was uploaded then.
        gateway.cli("settings", "rollback", "2")
        assert gets("ECDHE-RSA-AES128-GCM-SHA256") == rsa.fingerprint


# ---- swapped under load ----


@pytest.mark.slow
@pytest.mark.asan
def test_swaps_under_load_fail_no_handshake(pki):
    """`POSTERN_TLS_SWAPS` says how many; the sessions that are open keep what they began with."""
    root, middle, first = pki
    pair = [first, make("gw.example", names=["gw.example"], issuer=middle)]
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    strict.load_verify_locations(cadata=root.pem)
    seen, troubles, over = set(), [], threading.Event()
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, first)

        def shake_hands():
            while not over.is_set():
                try:
                    with gateway.client() as c:
                        c.starts_tls(strict, name="gw.example")
                        seen.add(hashes_of(c.tls.getpeercert(True)))
                        c.says("QUIT").expect(221)
                except Exception as error:  # noqa: BLE001
                    troubles.append(error)
                    return

        kept = gateway.client()
        kept.starts_tls(strict, name="gw.example")
        threads = [threading.Thread(target=shake_hands) for _ in range(4)]
        for thread in threads:
            thread.start()
        for swap in range(SWAPS):
            status, answer = gateway.api("PUT", "/api/v1/tls/server", body(pair[(swap + 1) % 2]))
            assert status == 200, answer
            if troubles:
                break
        over.set()
        for thread in threads:
            thread.join()
        assert not troubles, troubles[0]
        assert seen == {one.fingerprint for one in pair}
        assert gateway.json("status")["tls"]["failed_handshakes"] == 0
        assert hashes_of(kept.tls.getpeercert(True)) == first.fingerprint
        kept.delivers(make_message("as it began"))
        sink.wait_for(1)
        assert len(gateway.json("tls", "list")["items"]) == 2


# ---- kept safe ----


def test_a_key_is_in_its_file_and_nowhere_else(pki, tmp_path):
    _, _, mx = pki
    rsa = make("gw.example", names=["gw.example"], key="rsa")
    locked = mx.key_octets(passphrase="Tr0ub4dor&3").decode()
    (tmp_path / "c").write_text(rsa.pem)
    (tmp_path / "k").write_text(rsa.key_pem)
    with Postern(free_port()) as gateway:
        said = []
        sent = {**body(mx), "private_key": locked, "passphrase": "Tr0ub4dor&3"}
        said.append(gateway.api("POST", "/api/v1/tls/certificates", sent))
        said.append(gateway.api("PUT", "/api/v1/tls/server", body(mx)))
        said.append(gateway.cli("tls", "install", "--cert", tmp_path / "c", "--key", tmp_path / "k"))
        wrong = {**body(mx), "private_key": rsa.key_pem}
        said.append(gateway.api("PUT", "/api/v1/tls/server", wrong))
        said.append(gateway.api("PUT", "/api/v1/tls/server", {**body(mx), "nonsense": 1}))
        for item in gateway.json("tls", "list")["items"]:
            said.append(gateway.api("GET", f"/api/v1/tls/certificates/{item['id']}"))
        for path in ("/tls/certificates", "/tls/server", "/settings", "/status", "/audit"):
            said.append(gateway.api("GET", f"/api/v1{path}"))
        said.append(gateway.api("GET", "/metrics"))
        gateway.api("POST", "/api/v1/log/flush")
        secrets = [*mx.key_secrets, *rsa.key_secrets, b"Tr0ub4dor&3"]
        secrets += [line.encode() for line in locked.split("\n")[1:-2]]
        for what in (repr(said).encode(), gateway.log_octets()):
            for secret in secrets:
                assert secret not in what
        keys = gateway.state / "tls"
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
        found = 0
        for path in gateway.state.rglob("*"):
            if not path.is_file():
                continue
            octets = path.read_bytes()
            holds = any(secret in octets for secret in secrets)
            if path.parent == keys:
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
                found += holds
            else:
                assert not holds, path
        assert found == 2
        assert not list(keys.glob("*.new"))


# ---- lost, damaged, mended ----


@pytest.mark.parametrize("what", ["gone", "cut", "nonsense", "of another"])
def test_a_certificate_that_is_lost_at_start(pki, what):
    root, middle, mx = pki
    other = make("other.example", names=["other.example"])
    with Sink() as sink, Postern(sink) as gateway:
        offer(gateway, mx)
        path = next((gateway.state / "tls").glob("*.pem"))
        whole = path.read_bytes()
        assert gateway.stop() == 0
        if what == "gone":
            path.unlink()
        else:
            path.write_bytes(
                {
                    "cut": whole[: len(whole) // 3],
                    "nonsense": os.urandom(1000),
                    "of another": (other.key_pem + other.pem).encode(),
                }[what]
            )
        gateway.start(apply=False)
        status = gateway.json("status")
        assert status["health"] == "red"
        warning = next(w for w in status["warnings"] if "TLS is not offered" in w["text"])
        assert path.stem in warning["text"] and "postern tls install" in warning["remedy"]
        with gateway.client() as c:
            assert "STARTTLS" not in c.hello().lines
            c.delivers(make_message("in clear"))
        sink.wait_for(1)
        answer = json.loads(gateway.failed("tls", "show", "--json"))
        assert answer["alarm"] and answer["matches"] is False
        # What is lost does not stand in the way of other changes.
        status, answer = gateway.api("PATCH", "/api/v1/settings", {"identity": {"greeting": "hi"}})
        assert status == 200, answer

        # Required TLS that cannot be had is no mail for now, not mail in clear.
        assert patch_tls(gateway, incoming_required=True)[0] == 200
        with gateway.client() as c:
            assert "STARTTLS" not in c.hello().lines
            c.says("MAIL FROM:<a@source.example>").expect(454, enhanced="4.7.0")
            c.says("STARTTLS").expect(454, enhanced="4.7.0")
        assert "454 4.7.0" in gateway.cli("explain", "192.0.2.1", "--from", "a@source.example")

        path.write_bytes(whole)
        gateway.wait_until(lambda: gateway.json("status")["health"] != "red", "mended by itself")
        assert served(gateway) == mx.fingerprint
        assert gateway.json("tls", "show")["matches"] is True


def test_a_lost_certificate_is_mended_by_installing_it_again(pki):
    _, _, mx = pki
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        path = next((gateway.state / "tls").glob("*.pem"))
        assert gateway.stop() == 0
        path.unlink()
        gateway.start(apply=False)
        with gateway.client() as c:
            assert "STARTTLS" not in c.hello().lines
        assert gateway.api("PUT", "/api/v1/tls/server", body(mx))[0] == 200
        gateway.wait_until(lambda: gateway.json("status")["health"] != "red", "it is back")
        assert served(gateway) == mx.fingerprint


# ---- what is in force ----


def test_the_status_tells_when_certificates_expire(pki):
    _, middle, mx = pki
    soon = make("gw.example", names=["gw.example"], days=(-60, 20), issuer=middle)
    with Postern(free_port()) as gateway:
        assert gateway.json("status")["tls"]["certificates"] == []
        assert "tls         off" in gateway.cli("status")
        offer(gateway, mx)
        (shown,) = gateway.json("status")["tls"]["certificates"]
        assert shown["subject"] == "CN=gw.example" and shown["kind"] == "server"
        assert 360 < shown["days_left"] < 366
        green = gateway.json("status")["warnings"]
        assert not [w for w in green if "certificate" in w["text"]]
        offer(gateway, soon)
        status = gateway.json("status")
        (warning,) = [w for w in status["warnings"] if "expires on" in w["text"]]
        assert "in 19 days" in warning["text"] and "tls install" in warning["remedy"]
        assert status["health"] == "yellow"
        text = gateway.cli("status")
        assert "tls         offered" in text and "days" in text
        assert f'postern_tls_certificate_expiry_seconds{{id="{status["tls"]["certificates"][0]["id"]}"}}' in (
            gateway.api("GET", "/metrics")[1]
        )
        ending = make("Partners", ca=True, days=(-60, 10))
        ca = upload_ca(gateway, ending)
        assert patch_tls(gateway, client_certificates="request", client_ca=ca)[0] == 200
        warnings = gateway.json("status")["warnings"]
        assert [w for w in warnings if "the CA of client certificates" in w["text"]]


REDIRECT = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>

/* As a firewall does that sends a port elsewhere. */
int connect(int fd, const struct sockaddr *to, socklen_t n)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    struct sockaddr_in sa;

    if (to->sa_family == AF_INET) {
        sa = *(const struct sockaddr_in *)to;
        if (ntohs(sa.sin_port) == atoi(getenv("REDIRECT_FROM")))
            sa.sin_port = htons((unsigned short)atoi(getenv("REDIRECT_TO")));
        return real(fd, (const struct sockaddr *)&sa, n);
    }
    return real(fd, to, n);
}
"""


def test_another_server_in_our_place_is_an_alarm(pki, tmp_path, tool, monkeypatch):
    """What answers on our address is looked at as a client does."""
    _, _, mx = pki
    other = make("gw.example", names=["gw.example"])
    (tmp_path / "redirect.c").write_text(REDIRECT)
    shim = tmp_path / "redirect.so"
    subprocess.run(
        [tool("cc"), "-shared", "-fPIC", "-o", shim, tmp_path / "redirect.c", "-ldl"], check=True
    )
    with Postern(free_port()) as impostor, Postern(free_port(), start=False) as gateway:
        offer(impostor, other)
        monkeypatch.setenv("LD_PRELOAD", str(shim))
        monkeypatch.setenv("REDIRECT_FROM", str(gateway.port))
        monkeypatch.setenv("REDIRECT_TO", str(impostor.port))
        gateway.start()
        monkeypatch.delenv("LD_PRELOAD")
        offer(gateway, mx)
        answer = json.loads(gateway.failed("tls", "show", "--json"))
        assert answer["matches"] is False and "not one that the settings name" in answer["alarm"]
        assert answer["served"]["certificate"]["fingerprint"] == other.fingerprint
        assert answer["configured"]["certificates"][0]["fingerprint"] == mx.fingerprint
        assert "ALARM" in gateway.failed("tls", "show")
        status = gateway.json("status")
        assert status["health"] == "red" and status["tls"]["alarm"]
        assert served(gateway) == mx.fingerprint  # as others see it


def test_rules_that_refuse_this_host_are_no_alarm(pki):
    _, _, mx = pki
    with Postern(free_port()) as gateway:
        offer(gateway, mx, implicit_port=free_port())
        answer = gateway.json("tls", "show")
        assert [x["implicit"] for x in answer["also_served"]] == [True]
        assert answer["also_served"][0]["certificate"]["fingerprint"] == mx.fingerprint
        status, answer = gateway.api(
            "PATCH",
            "/api/v1/settings",
            {"connections": {"control": {"deny_list": ["127.0.0.0/8", "::1"]}}},
        )
        assert status == 200, answer
        answer = gateway.json("tls", "show")
        assert answer["matches"] is None and answer["alarm"] is None
        assert "554" in answer["served"]["error"]
        assert gateway.json("status")["tls"]["alarm"] is None
        assert "cannot be told" in gateway.cli("tls", "show")


# ---- renewal ----


def script_of(heading: str) -> str:
    """The first script under that heading of docs/tls.md: what is documented is what is tried."""
    text = (ROOT / "docs" / "tls.md").read_text().partition(f"### {heading}\n")[2]
    lines = text.partition("    #!/bin/sh\n")[2].split("\n")
    script = ["#!/bin/sh"]
    for line in lines:
        if line and not line.startswith("    "):
            break
        script.append(line[4:])
    return "\n".join(script) + "\n"


def run_script(gateway, folder, name, heading, environment, *words):
    script = folder / name
    script.write_text(script_of(heading))
    script.chmod(0o755)
    return subprocess.run(
        [script, *words],
        capture_output=True,
        text=True,
        env={
            "PATH": f"{folder}:{os.environ['PATH']}",
            "POSTERN_STATE": str(gateway.state),
            **environment,
        },
    )


def postern_on_path(folder):
    from lib import BINARY

    (folder / "postern").symlink_to(BINARY)


def test_a_deploy_hook_of_certbot(pki, tmp_path):
    _, middle, mx = pki
    postern_on_path(tmp_path)
    live = tmp_path / "live" / "gw.example"
    live.mkdir(parents=True)
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        renewed = make("gw.example", names=["gw.example"], issuer=middle)
        (live / "cert.pem").write_text(renewed.pem)
        (live / "chain.pem").write_text(middle.pem)
        (live / "fullchain.pem").write_text(renewed.chain)
        (live / "privkey.pem").write_text(renewed.key_pem)
        environment = {"RENEWED_LINEAGE": str(live), "RENEWED_DOMAINS": "gw.example"}
        run = run_script(gateway, tmp_path, "hook", "certbot", environment)
        assert run.returncode == 0, run.stderr
        assert served(gateway) == renewed.fingerprint
        assert gateway.json("audit")["items"][0]["detail"] == "renewed by certbot"
        # Of another name, for another server of this host: not ours.
        run = run_script(
            gateway, tmp_path, "hook", "certbot", {**environment, "RENEWED_DOMAINS": "www.example"}
        )
        assert run.returncode == 0 and served(gateway) == renewed.fingerprint
        (live / "privkey.pem").write_text(mx.key_pem)
        run = run_script(gateway, tmp_path, "hook", "certbot", environment)
        assert run.returncode != 0 and "does not belong" in run.stderr
        assert served(gateway) == renewed.fingerprint


@pytest.mark.parametrize("outcome", [0, 1, 2])
def test_a_renewal_by_uacme(pki, tmp_path, outcome):
    """uacme ends with 0 when it has a new certificate, with 1 when there is no need, 2 on errors."""
    _, middle, mx = pki
    postern_on_path(tmp_path)
    kept = tmp_path / "uacme"
    (kept / "gw.example").mkdir(parents=True)
    (kept / "private" / "gw.example").mkdir(parents=True)
    with Postern(free_port()) as gateway:
        offer(gateway, mx)
        renewed = make("gw.example", names=["gw.example"], issuer=middle)
        (kept / "gw.example" / "cert.pem").write_text(renewed.chain)
        (kept / "private" / "gw.example" / "key.pem").write_text(renewed.key_pem)
        fake = tmp_path / "bin"
        fake.mkdir()
        (fake / "uacme").write_text(f"#!/bin/sh\necho \"$@\" >{tmp_path}/called\nexit {outcome}\n")
        (fake / "uacme").chmod(0o755)
        run = run_script(
            gateway,
            tmp_path,
            "renew",
            "uacme",
            {
                "PATH": f"{fake}:{tmp_path}:{os.environ['PATH']}",
                "UACME": str(kept),
                "NAME": "gw.example",
            },
        )
        assert run.returncode == {0: 0, 1: 0, 2: 2}[outcome], run.stderr
        assert "issue gw.example" in (tmp_path / "called").read_text()
        want = renewed if outcome == 0 else mx
        assert served(gateway) == want.fingerprint
