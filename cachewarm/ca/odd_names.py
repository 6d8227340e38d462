"""Certificates whose names break the string types they use (responder/domain/odd_names.py), read and signed.

They have the interface of `x509.Certificate`, so that no caller needs to know; what is signed below one carries its
name byte for byte.
"""

from typing import Any, cast

from asn1crypto import pem
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.keys.builders import sign_certificate
from cachewarm.keys.signing_key import SigningKey
from responder.domain.certificate import read_facts
from responder.domain.odd_names import (
    BIT_STRING,
    SEQUENCE,
    contents,
    dump,
    elements,
    emit,
    names_of,
    positions_of_certificate,
    readable_certificate,
)
from responder.domain.signature import PublicKey, is_signed_by


class OddCertificate:
    """A certificate that only a copy of can be parsed. It has the interface of `x509.Certificate`.

    Fields that are for people or that have no names in them are read from the copy; bytes are the original's.
    """

    def __init__(self, der: bytes) -> None:
        self._der = der
        read_facts(der)
        copy = readable_certificate(der)
        if copy == der:
            raise ValueError("its names are not what is wrong with it")
        self._copy = x509.load_der_x509_certificate(copy)
        self.tbs_certificate_bytes = dump(next(elements(contents(der))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._copy, name)

    def __eq__(self, other: object) -> bool:
        return _der_of(other) == self._der

    def __hash__(self) -> int:
        return hash(self._der)

    def public_bytes(self, encoding: Encoding) -> bytes:
        """Return the original certificate."""
        if encoding is Encoding.DER:
            return self._der
        return bytes(pem.armor("CERTIFICATE", self._der))

    def fingerprint(self, algorithm: hashes.HashAlgorithm) -> bytes:
        """Return the hash of the original."""
        digest = hashes.Hash(algorithm)
        digest.update(self._der)
        return digest.finalize()

    def verify_directly_issued_by(self, issuer: x509.Certificate) -> None:
        """Raise ValueError for another name, InvalidSignature for another key."""
        verify_issued(cast("x509.Certificate", self), issuer)


def load_certificate(der: bytes) -> x509.Certificate:
    """Return the certificate of that DER, its names tolerated. Raises what `cryptography` raises otherwise."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.subject, certificate.issuer
    except ValueError:
        try:
            return cast("x509.Certificate", OddCertificate(der))
        except (ValueError, StopIteration, IndexError):
            pass
        raise
    return certificate


def verify_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Raise ValueError for an issuer of another name (compared as bytes), InvalidSignature for one of another key."""
    if not isinstance(certificate, OddCertificate) and not isinstance(issuer, OddCertificate):
        certificate.verify_directly_issued_by(issuer)
        return
    der = certificate.public_bytes(Encoding.DER)
    if names_of(der)[0] != names_of(issuer.public_bytes(Encoding.DER))[1]:
        raise ValueError("the issuer's name is another one")
    tbs, algorithm, signature = elements(contents(der))
    if not is_signed_by(issuer.public_key(), dump(algorithm), signature[3][1:], dump(tbs)):
        raise InvalidSignature


def sign_below(builder: x509.CertificateBuilder, ca: x509.Certificate, key: SigningKey) -> x509.Certificate:
    """Return the certificate that the CA's key signs once, with the CA's name as its own bytes have it."""
    draft = sign_certificate(builder, _NoSignature(key.public_key)).public_bytes(Encoding.DER)
    tbs, algorithm, _ = elements(contents(draft))
    name = names_of(ca.public_bytes(Encoding.DER))[1]
    fields = [dump(each) for each in elements(tbs[3])]
    fields[positions_of_certificate(fields)[0]] = name
    body = emit(SEQUENCE, b"".join(fields))
    signature = emit(BIT_STRING, b"\0" + key.sign(body))
    return load_certificate(emit(SEQUENCE, body + dump(algorithm) + signature))


class _NoSignature:
    """The interface of a key for a draft, whose TBS is read and signed afterwards."""

    def __init__(self, public_key: PublicKey) -> None:
        self.public_key = public_key
        self.signature_algorithm = b""

    def sign(self, tbs: bytes) -> bytes:  # noqa: ARG002 - the interface of a key
        return b""

    def sign_digest(self, digest: bytes) -> bytes:  # noqa: ARG002
        return b""


def _der_of(certificate: object) -> bytes | None:
    if isinstance(certificate, OddCertificate | x509.Certificate):
        return certificate.public_bytes(Encoding.DER)
    return None
