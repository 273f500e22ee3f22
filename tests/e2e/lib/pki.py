"""pki: certificates of every kind, made on the spot.

    root = make("Test Root", ca=True)
    mx = make("mx.example", names=["gw.example"], issuer=root)
    upload(gateway, mx)
"""

import base64
import datetime
import ipaddress
import json
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEYS = {
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
FORMS = {
    "pkcs8": serialization.PrivateFormat.PKCS8,
    # PKCS#1 of an RSA key, SEC 1 of an elliptic one.
    "traditional": serialization.PrivateFormat.TraditionalOpenSSL,
}


@dataclass(frozen=True)
class Certificate:
    x509: x509.Certificate
    key: object
    issuer: "Certificate | None"  # None: signed by itself

    @cached_property
    def pem(self) -> str:
        return self.x509.public_bytes(serialization.Encoding.PEM).decode()

    @cached_property
    def der(self) -> bytes:
        return self.x509.public_bytes(serialization.Encoding.DER)

    @property
    def chain(self) -> str:
        """What is sent: this one and its issuers, without the root."""
        issuer = self.issuer
        return self.pem + (issuer.chain if issuer is not None and issuer.issuer else "")

    @property
    def fingerprint(self) -> str:
        return self.x509.fingerprint(hashes.SHA256()).hex()

    @property
    def subject(self) -> str:
        return self.x509.subject.rfc4514_string()

    def key_octets(self, form: str = "pkcs8", passphrase: str | None = None, der=False) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.DER if der else serialization.Encoding.PEM,
            FORMS[form],
            serialization.BestAvailableEncryption(passphrase.encode())
            if passphrase
            else serialization.NoEncryption(),
        )

    @cached_property
    def key_pem(self) -> str:
        return self.key_octets().decode()

    @property
    def key_secrets(self) -> list[bytes]:
        """What of the key must stand nowhere: its octets, and pieces of every spelling in text."""
        der = self.key_octets(der=True)
        text = base64.b64encode(der)
        lines = self.key_pem.encode().split(b"\n")[1:-2]
        return [der, text, der.hex().encode(), *lines, json.dumps(self.key_pem).encode()]


def make(
    cn: str = "",
    *,
    names: list[str] | None = None,
    key: str = "ecdsa",
    days: tuple[int, int] | None = None,
    ca: bool = False,
    issuer: Certificate | None = None,
    use: str | None = None,
    digest: hashes.HashAlgorithm | None = None,
) -> Certificate:
    """`days` is from when to when, from now (a CA lives longer than what it signs); `use` is "server" or "client"; an empty `cn` makes an
    empty subject."""
    private = KEYS[key]()
    days = days or ((-10, 3650) if ca else (-1, 365))
    now = datetime.datetime.utcnow()
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else []
    subject = x509.Name(attributes)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.x509.subject if issuer else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName(list(map(_alternative, names))), critical=False
        )
    if use:
        purpose = {
            "server": ExtendedKeyUsageOID.SERVER_AUTH,
            "client": ExtendedKeyUsageOID.CLIENT_AUTH,
        }[use]
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    signer = issuer.key if issuer else private
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        return Certificate(builder.sign(signer, None), private, issuer)
    return Certificate(builder.sign(signer, digest or hashes.SHA256()), private, issuer)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# ---- at the gateway ----


def body(certificate: Certificate) -> dict:
    """As the API takes it."""
    return {"certificate": certificate.chain, "private_key": certificate.key_pem}


def upload(gateway, certificate: Certificate) -> str:
    status, answer = gateway.api("POST", "/api/v1/tls/certificates", body(certificate))
    assert status == 201, answer
    return answer["id"]


def upload_ca(gateway, *authorities: Certificate) -> str:
    text = "".join(one.pem for one in authorities)
    status, answer = gateway.api("POST", "/api/v1/tls/certificates", {"ca_certificate": text})
    assert status == 201, answer
    return answer["id"]


def patch_tls(gateway, **tls) -> tuple[int, dict]:
    return gateway.api("PATCH", "/api/v1/settings", {"connections": {"tls": tls}})


def offer(gateway, *certificates: Certificate, **tls) -> dict:
    """Uploads, switches incoming TLS on and says what else stands in connections.tls."""
    ids = [upload(gateway, one) for one in certificates]
    named = {"certificate": ids[0] if len(ids) == 1 else ids} if ids else {}
    status, answer = patch_tls(gateway, incoming=True, **named, **tls)
    assert status == 200, answer
    return answer
