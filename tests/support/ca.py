"""A CA of the test: what a template needs, and signatures that outsiders can verify."""

import datetime
import hashlib
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from _fastocsp.ocsp.record import pack_record
from _fastocsp.ocsp.response import Template, responder_id_by_key
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
ALGORITHMS = {codes.SHA1: "sha1", codes.SHA256: "sha256", codes.SHA384: "sha384", codes.SHA512: "sha512"}
NOW = 1_767_225_600  # 2026-01-01 00:00:00, inside the certificates' validity


class Authority(NamedTuple):
    """A CA and its delegated responder, both ECDSA P-256."""

    root: x509.Certificate
    delegate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def responder(self) -> bytes:
        """The records' responder field."""
        return hashlib.sha256(der(self.delegate)).digest()[:8]

    def template(self, hash_algorithm: int, certs: list[bytes] | None = None) -> Template:
        """A template for CertIDs of this CA, with these certificates in place of the delegate's."""
        digest = ALGORITHMS[hash_algorithm & codes.HASH_MASK]
        return Template(
            hash_algorithm=hash_algorithm,
            issuer_name_hash=hashlib.new(digest, self.root.subject.public_bytes()).digest(),
            issuer_key_hash=hashlib.new(digest, key_bits(self.root)).digest(),
            responder_id=responder_id_by_key(hashlib.sha1(key_bits(self.delegate)).digest()),
            responder=self.responder,
            signature_algorithm=ECDSA_SHA256,
            certs=[der(self.delegate)] if certs is None else certs,
        )

    def sign(self, tbs: bytes) -> bytes:
        """The delegate's signature."""
        return self.key.sign(tbs, ec.ECDSA(hashes.SHA256()))

    def answer(self, record: Record, serial: bytes) -> bytes:
        """The complete response for a record that is still to be signed."""
        template = self.template(record.hash_algorithm)
        return template.encode(serial, pack_record(record._replace(signature=self.sign(template.tbs(serial, record)))))

    def record(self, **fields: object) -> Record:
        """A good SHA-1 record of this responder, valid for a day, with some fields changed."""
        good = Record(codes.SHA1, codes.GOOD, self.responder, NOW, NOW + 86400, NOW)
        return good._replace(**fields)  # type: ignore[arg-type]


def der(certificate: x509.Certificate) -> bytes:
    """The certificate's bytes."""
    return certificate.public_bytes(serialization.Encoding.DER)


def key_bits(certificate: x509.Certificate) -> bytes:
    """The subject public key without tag, length and unused-bits byte."""
    encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    return certificate.public_key().public_bytes(encoding, form)


def make_authority() -> Authority:
    """A fresh CA with a delegate as O-19 wants it."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in ("Test CA", "Test OCSP")]
    start = datetime.datetime.fromtimestamp(NOW, datetime.UTC) - datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().issuer_name(names[0]).not_valid_before(start)
    builder = builder.not_valid_after(start + datetime.timedelta(days=30))
    root = builder.subject_name(names[0]).public_key(keys[0].public_key()).serial_number(1)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    delegate = builder.subject_name(names[1]).public_key(keys[1].public_key()).serial_number(2)
    delegate = delegate.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    delegate = delegate.add_extension(x509.OCSPNoCheck(), critical=False)
    return Authority(root.sign(keys[0], hashes.SHA256()), delegate.sign(keys[0], hashes.SHA256()), keys[1])
