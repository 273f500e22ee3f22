"""Other people's clients begin TLS: OpenSSL's s_client in every version, swaks, Postfix, testssl.sh."""

import json
import re
import subprocess
import sys

import pytest

from lib import Postern, ROOT, Sink, free_port, make_message, split_trace, temporary_folder
from lib.pki import make, offer

sys.path.insert(0, str(ROOT / "bench"))
import peers

SUITES_1_2 = {
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
}
SUITES_1_3 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}


@pytest.fixture(scope="module")
def gateway():
    """With an ECDSA and an RSA certificate side by side."""
    authority = make("Test Root", ca=True)
    names = dict(names=["gw.example"], issuer=authority)
    with Sink() as sink, Postern(sink) as running:
        offer(running, make("gw.example", key="rsa", **names), make("gw.example", **names))
        running.authority = running.folder / "root.pem"
        running.authority.write_text(authority.pem)
        running.sink = sink
        yield running


def s_client(gateway, *words: str) -> str:
    """What s_client says of the handshake; "" where there is none."""
    run = subprocess.run(
        [
            *("openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{gateway.port}"),
            *("-CAfile", str(gateway.authority), "-verify_hostname", "gw.example"),
            *("-servername", "gw.example", *words),
        ],
        input="QUIT\n",
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", "OPENSSL_CONF": "/dev/null"},
    )
    return run.stdout if re.search(r"Cipher is (?!\(NONE\))", run.stdout) else ""


def cipher(said: str) -> str:
    found = re.search(r"New, \S+, Cipher is (\S+)", said)
    return found[1] if found else ""


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(gateway, version):
    said = s_client(gateway, version, "-cipher", "ALL:@SECLEVEL=0")
    assert said == "" or cipher(said) == ""


@pytest.mark.parametrize("version, name", [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_present_versions_verify(gateway, version, name):
    said = s_client(gateway, version)
    assert f"New, {name}, Cipher is" in said or f"Protocol  : {name}" in said
    assert "Verify return code: 0 (ok)" in said or "Verification: OK" in said
    assert "Server Temp Key: X25519" in said
    assert "Compression: NONE" in said


def test_only_the_intended_suites(gateway):
    all_1_2 = subprocess.run(
        ["openssl", "ciphers", "-tls1_2", "-s", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split(":")
    served = set()
    for name in map(str.strip, all_1_2):
        if not name.startswith("TLS_") and s_client(
            gateway, "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0"
        ):
            served.add(name)
    assert served == SUITES_1_2
    others = {"TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}
    assert SUITES_1_3 == {
        name
        for name in SUITES_1_3 | others
        if s_client(gateway, "-tls1_3", "-ciphersuites", name)
    }


def test_the_order_of_the_server_counts(gateway):
    backwards = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384"
    last = f"{backwards}:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"
    assert cipher(s_client(gateway, "-tls1_2", "-cipher", last)) == "ECDHE-ECDSA-AES128-GCM-SHA256"
    said = s_client(gateway, "-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256")
    assert cipher(said) == "TLS_AES_128_GCM_SHA256"
    # Who has no instructions for AES says so by naming ChaCha20 first.
    said = s_client(
        gateway, "-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
    )
    assert cipher(said) == "TLS_CHACHA20_POLY1305_SHA256"
    said = s_client(gateway, "-tls1_2", "-curves", "P-384:P-256:X25519")
    assert "Server Temp Key: X25519" in said
    assert "Server Temp Key: ECDH, prime256v1" in s_client(gateway, "-tls1_3", "-curves", "P-256")
    assert s_client(gateway, "-tls1_3", "-curves", "P-521") == ""


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_the_certificate_is_one_that_the_client_can_check(gateway, version):
    for algorithms, kind in (
        ("RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA256", "ECDSA"),
        ("ECDSA+SHA256", "ECDSA"),
        ("RSA-PSS+SHA256:RSA-PSS+SHA384", "RSA-PSS"),
    ):
        said = s_client(gateway, version, "-sigalgs", algorithms)
        assert f"Peer signature type: {kind}" in said, (algorithms, said)


def test_renegotiation_is_refused(gateway):
    said = s_client(gateway, "-tls1_2", "-legacy_renegotiation")
    assert "Secure Renegotiation IS supported" in said
    run = subprocess.run(
        [
            *("openssl", "s_client", "-starttls", "smtp", "-tls1_2"),
            *("-connect", f"127.0.0.1:{gateway.port}"),
        ],
        input="R\n",
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "no renegotiation" in run.stderr.lower() or run.returncode != 0


def test_swaks(gateway, tool):
    gateway.sink.clear()
    run = subprocess.run(
        [
            *(tool("swaks"), "--server", f"127.0.0.1:{gateway.port}", "--tls", "--tls-verify"),
            *("--tls-ca-path", str(gateway.authority), "--tls-sni", "gw.example"),
            *("--from", "a@source.example", "--to", "b@sink.example", "--helo", "swaks.example"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "TLS started with cipher TLSv1.3" in run.stdout
    assert b"ESMTPS" in split_trace(gateway.sink.wait_for(1)[0].content)[0]


@pytest.mark.slow
def test_postfix_as_a_client(root, gateway):
    """Postfix relays to us: it insists on TLS and on our name."""
    with temporary_folder() as folder:
        folder.chmod(0o755)
        authority = folder / "root.pem"
        authority.write_text(gateway.authority.read_text())
        gateway.sink.clear()
        settings = {
            "smtp_tls_security_level": "verify",
            "smtp_tls_CAfile": str(authority),
            "smtp_tls_verify_cert_match": "gw.example",
            "smtp_tls_loglevel": "1",
            "maillog_file": str(folder / "postfix" / "mail.log"),
            "maillog_file_prefixes": str(folder),
        }
        with peers.Postfix(folder / "postfix", gateway.port, settings=settings) as postfix:
            from lib import Client

            with Client("127.0.0.1", postfix.port) as client:
                client.hello()
                for n in range(3):
                    client.delivers(make_message(f"by way of Postfix {n}"))
            messages = gateway.sink.wait_for(3)
        for message in messages:
            assert b"with ESMTPS" in split_trace(message.content)[0]


@pytest.mark.slow
def test_testssl_finds_nothing_above_low(gateway, tool):
    """testssl.sh: protocols, ciphers, server's preference, vulnerabilities."""
    report = gateway.folder / "testssl.json"
    run = subprocess.run(
        [
            *(tool("testssl"), "--starttls", "smtp", "--add-ca", str(gateway.authority)),
            *("--jsonfile", str(report), "--color", "0", "--warnings", "off", "--quiet"),
            *("--ip", "127.0.0.1", "-p", "-s", "-P", "-f", "-U", f"gw.example:{gateway.port}"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    findings = json.loads(report.read_text())
    assert len(findings) > 40, run.stdout[-3000:]
    ours = [f for f in findings if f["id"] != "engine_problem"]  # about the openssl of this host
    bad = [f for f in ours if f["severity"] not in ("OK", "INFO", "LOW")]
    assert not bad, json.dumps(bad, indent=1)
