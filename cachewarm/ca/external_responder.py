"""A responder that the operator brings along: is it one that clients will accept?

RFC 6960 4.2.2.2: issued directly by the CA, with id-kp-OCSPSigning, or the CA's own certificate. Each refusal is one
sentence; what clients merely dislike comes back as remarks.
"""

from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from cachewarm.ca.authority import check_ca
from cachewarm.ca.certificate import epoch, read_certificate
from cachewarm.ca.responder_certificate import issued_by
from cachewarm.errors import Refused
from cachewarm.keys.signing_key import SigningKey
from responder.domain.responder import ResponderCertificate

E = TypeVar("E", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class ExternalResponder:
    """An accepted responder, and what its owner should know about it."""

    certificate: ResponderCertificate
    remarks: tuple[str, ...]


def validate(octets: bytes, key: SigningKey, ca: x509.Certificate, *, now: int) -> ExternalResponder:
    """The responder in that PEM or DER file, for answers about certificates of that CA; Refused otherwise."""
    certificate = read_certificate(octets, name="the responder certificate")
    check_ca(ca)
    _check_window(certificate, now)
    _check_key(certificate, key)
    delegated = certificate != ca
    if delegated:
        _check_delegation(certificate, ca)
    try:
        responder = ResponderCertificate.from_der(certificate.public_bytes(Encoding.DER))
    except ValueError as error:
        raise Refused(f"the responder certificate cannot be used: {error}") from error
    return ExternalResponder(responder, tuple(_remarks(certificate, delegated=delegated)))


def _check_window(certificate: x509.Certificate, now: int) -> None:
    if now < epoch(certificate.not_valid_before_utc):
        raise Refused(f"the responder certificate begins only at {certificate.not_valid_before_utc.isoformat()}")
    if now > epoch(certificate.not_valid_after_utc):
        raise Refused(f"the responder certificate ended at {certificate.not_valid_after_utc.isoformat()}")


def _check_key(certificate: x509.Certificate, key: SigningKey) -> None:
    if certificate.public_key() != key.public_key:
        raise Refused("the key does not belong to the responder certificate")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise Refused("the responder certificate's keyUsage lacks digitalSignature: clients reject what it signs")


def _check_delegation(certificate: x509.Certificate, ca: x509.Certificate) -> None:
    if isinstance(certificate.signature_hash_algorithm, (hashes.SHA1, hashes.MD5)):
        raise Refused("the responder certificate is signed with SHA-1 or MD5: clients reject that")
    if not issued_by(certificate, ca):
        raise Refused(
            f"the responder certificate is not issued directly by {ca.subject.rfc4514_string()} (RFC 6960 4.2.2.2)"
        )
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
        raise Refused("the responder certificate's extended key usage lacks OCSPSigning (RFC 6960 4.2.2.2)")


def _remarks(certificate: x509.Certificate, *, delegated: bool) -> list[str]:
    if not delegated:
        return ["answers are signed with the CA's own key: a delegated responder keeps that key off the network"]
    found = []
    if _extension(certificate, x509.OCSPNoCheck) is None:
        found.append("id-pkix-ocsp-nocheck is missing: clients may ask for the responder's own status")
    if not certificate.subject.rdns:
        found.append("the subject is empty: Java cannot parse this certificate")
    if _extension(certificate, x509.CRLDistributionPoints) is not None:
        found.append("it has a CRL distribution point: some clients will fetch that CRL first")
    return found


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
