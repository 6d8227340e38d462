"""Delegated responders: made, stored, and judged when they are read back.

Profile (RFC 6960 4.2.2.2, 4.2.2.2.1; BR 7.1.2.8): ECDSA P-256, keyUsage digitalSignature alone, extended key usage
OCSPSigning alone, nocheck, key identifiers; no CRL distribution point, no SAN, no AIA, not a CA; a subject.

A pair that cannot be used is a value, not an exception: the caller makes a new one. Nothing here ever falls back to the
CA's key.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cachewarm.ca.authority import Authority, authority_key_identifier, check_validity
from cachewarm.ca.certificate import BACKDATE_S, Issued, moment, new_serial
from cachewarm.ca.issue import MAX_COMMON_NAME
from cachewarm.ca.odd_names import load_certificate, sign_below, verify_issued
from cachewarm.ca.profiles import DIGITAL_SIGNATURE, RESPONDER_VALIDITY_S
from cachewarm.errors import Refused
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import KeyKind, SoftKey
from responder.domain.certificate import UNREADABLE
from responder.domain.issuer import check_issuer_id
from responder.domain.responder import ResponderCertificate

_KEY_BEGIN, _KEY_END = "ocsp-responder-", ".key"


@dataclass(frozen=True, slots=True)
class ResponderPair:
    """A responder certificate and its key."""

    certificate: ResponderCertificate
    key: SigningKey


class Fault(StrEnum):
    """Why a stored pair cannot be used."""

    KEY_MISSING = "key missing"
    KEY_UNREADABLE = "key unreadable"
    KEY_MISMATCH = "key mismatch"
    CERTIFICATE_BROKEN = "certificate broken"
    OTHER_ISSUER = "other issuer"
    NOT_YET_VALID = "not yet valid"
    EXPIRED = "expired"
    IN_GRACE = "inside the rotation grace"


@dataclass(frozen=True, slots=True)
class Unusable:
    """No pair, and why: a fault for the caller and the metrics, a sentence for the operator."""

    fault: Fault
    text: str


def make(
    authority: Authority, issuer_id: str, *, now: int, validity_s: int = RESPONDER_VALIDITY_S
) -> tuple[Issued, SoftKey]:
    """A new responder certificate with a new P-256 key; it ends with the CA at the latest. Writes nothing."""
    key = SoftKey.generate(KeyKind.P256)
    not_after = min(now + check_validity(validity_s), authority.not_after)
    if not_after <= now:
        raise Refused(f"the certificate of {authority.name} has expired: it can delegate to no responder")
    if now < authority.not_before:
        raise Refused(f"the certificate of {authority.name} is not valid yet: it can delegate to no responder")
    not_before = max(now - BACKDATE_S, authority.not_before)
    builder = x509.CertificateBuilder().subject_name(_subject(authority, issuer_id))
    builder = builder.issuer_name(authority.certificate.subject).public_key(key.public_key).serial_number(new_serial())
    builder = builder.not_valid_before(moment(not_before)).not_valid_after(moment(not_after))
    builder = builder.add_extension(DIGITAL_SIGNATURE, critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key), critical=False)
    builder = builder.add_extension(authority_key_identifier(authority.certificate), critical=False)
    return Issued.of(sign_below(builder, authority.certificate, authority.key)), key


def key_path(folder: Path, issuer_id: str) -> Path:
    """Where the key of that issuer's responder stands."""
    return folder / f"{_KEY_BEGIN}{_safe(issuer_id)}{_KEY_END}"


def issuer_of_key(name: str) -> str | None:
    """Return whose responder's key a file of that name would be, None for any other name."""
    if name.startswith(_KEY_BEGIN) and name.endswith(_KEY_END):
        return name[len(_KEY_BEGIN) : -len(_KEY_END)]
    return None


def load_pair(
    path: Path, cert_der: bytes, ca: x509.Certificate, *, now: int, grace_s: int = 0, passphrase: bytes | None = None
) -> ResponderPair | Unusable:
    """The key of that file with the certificate of the ledger's row, or why they cannot be used.

    With `grace_s` a pair that ends within that many seconds is unusable: who can rotate passes the grace, who can only
    sign passes 0 and goes on to the last second.
    """
    try:
        certificate = ResponderCertificate.from_der(cert_der)
        wrong = _issuer_fault(cert_der, ca) or _window_fault(certificate, now, grace_s)
    except UNREADABLE as error:
        return Unusable(Fault.CERTIFICATE_BROKEN, f"the responder certificate cannot be read: {error}")
    if wrong is not None:
        return wrong
    try:
        key = SoftKey.load(path, passphrase)
    except FileNotFoundError:
        return Unusable(Fault.KEY_MISSING, f"{path} does not exist")
    except (Refused, OSError) as error:
        return Unusable(Fault.KEY_UNREADABLE, str(error))
    if key.public_key != certificate.public_key:
        return Unusable(Fault.KEY_MISMATCH, f"{path} is not the key of the responder certificate")
    return ResponderPair(certificate, key)


def issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether that CA's key signed it, under that CA's name."""
    try:
        verify_issued(certificate, ca)
    except (InvalidSignature, *UNREADABLE):  # other key; other name, foreign algorithm
        return False
    return True


def _issuer_fault(cert_der: bytes, ca: x509.Certificate) -> Unusable | None:
    certificate = load_certificate(cert_der)
    if certificate == ca or issued_by(certificate, ca):  # the CA itself may sign, RFC 6960 4.2.2.2 (1)
        return None
    return Unusable(Fault.OTHER_ISSUER, f"the responder certificate is not issued by {ca.subject.rfc4514_string()}")


def _window_fault(certificate: ResponderCertificate, now: int, grace_s: int) -> Unusable | None:
    ends = moment(certificate.not_after).isoformat()
    if now < certificate.not_before:
        begins = moment(certificate.not_before).isoformat()
        return Unusable(Fault.NOT_YET_VALID, f"the responder certificate begins only at {begins}")
    if now > certificate.not_after:
        return Unusable(Fault.EXPIRED, f"the responder certificate ended at {ends}")
    if now > certificate.not_after - grace_s:
        return Unusable(Fault.IN_GRACE, f"the responder certificate ends at {ends}, inside the rotation grace")
    return None


def _subject(authority: Authority, issuer_id: str) -> x509.Name:
    """Country and organization of the CA, and a name that says what it is."""
    kept = [
        attribute
        for attribute in authority.certificate.subject
        if attribute.oid in (NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME)
    ]
    common_name = f"OCSP responder {_safe(issuer_id)}"[:MAX_COMMON_NAME]
    return x509.Name([*kept, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _safe(issuer_id: str) -> str:
    try:
        return check_issuer_id(issuer_id)
    except ValueError as error:
        raise Refused(str(error)) from error
