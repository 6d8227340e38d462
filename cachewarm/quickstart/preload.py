"""Do once, before processes of the write side are forked, what each would do at its start (responder/preload.py)."""

import time
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import responder.preload  # noqa: F401 - it does its part when it is loaded
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate


def preload() -> None:
    """Make a key and a certificate that are thrown away, and read the certificate as ours are read."""
    key, octets = ec.generate_private_key(ec.SECP256R1()), str(time.time()).encode()
    key.public_key().verify(key.sign(octets, ec.ECDSA(hashes.SHA256())), octets, ec.ECDSA(hashes.SHA256()))
    now, name = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "preload")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    templates(Issuer.from_certificate(der, issuer_id="preload", issuer_no=1), ResponderCertificate.from_der(der))


preload()
