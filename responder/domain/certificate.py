"""The facts of a certificate that our answers are made of, read from its own bytes.

Names and keys are taken as they stand in the DER, never encoded again: another string type would be another hash
(RFC 6960 4.1.1). Pure: DER in, values out.
"""

import functools
import hashlib
from dataclasses import dataclass

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from responder.domain.signature import PublicKey, scheme_of

#: What cryptography raises for bytes it cannot make sense of; some of it only when a field is first looked at.
UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """Fields of a certificate for hashes, names and windows; times in epoch seconds, both ends inclusive."""

    subject_der: bytes
    key_bits: bytes
    not_before: int
    not_after: int


def read_facts(cert_der: bytes) -> CertificateFacts:
    """Facts of one DER certificate; ValueError when it is none, or when bytes follow it.

    `key_bits` is the subjectPublicKey BIT STRING without tag, length and unused-bits byte (RFC 6960 4.2.1).
    """
    try:
        certificate = asn1.Certificate.load(cert_der, strict=True)
        tbs = certificate["tbs_certificate"]
        validity = tbs["validity"]
        return CertificateFacts(
            subject_der=tbs["subject"].dump(),
            key_bits=bytes(tbs["subject_public_key_info"]["public_key"]),
            not_before=int(validity["not_before"].native.timestamp()),
            not_after=int(validity["not_after"].native.timestamp()),
        )
    except (TypeError, OverflowError, KeyError) as error:
        raise ValueError(f"not a DER certificate: {error}") from error


def read_public_key(cert_der: bytes) -> PublicKey:
    """The certificate's key; ValueError when it is of a kind that is not supported."""
    key = read_any_public_key(cert_der)
    scheme_of(key)
    return key  # type: ignore[return-value]


def read_any_public_key(cert_der: bytes) -> object:
    """Return the certificate's key, of whatever kind; ValueError when it cannot be read, or is for RSASSA-PSS alone."""
    try:
        spki = asn1.Certificate.load(cert_der, strict=True)["tbs_certificate"]["subject_public_key_info"]
        algorithm, key = spki["algorithm"]["algorithm"].dotted, load_der_public_key(spki.dump())
    except UNREADABLE as error:
        raise ValueError(f"the certificate's public key cannot be read: {error}") from error
    refuse_pss_key(algorithm)
    return key


@functools.lru_cache(maxsize=1 << 16)
def may_sign_crls(cert_der: bytes) -> bool:
    """Return whether verifiers accept CRLs of that CA: a keyUsage must have cRLSign (RFC 5280 4.2.1.3, 6.3.3 (f))."""
    try:
        usage = asn1.Certificate.load(cert_der, strict=True).key_usage_value
        return usage is None or "crl_sign" in usage.native
    except UNREADABLE:
        return True  # nothing to go by


def refuse_pss_key(algorithm: str) -> None:
    """Raise ValueError when the key is for RSASSA-PSS alone: it may sign no PKCS#1 v1.5 (RFC 4055 1.2, 3.1).

    The library returns a plain RSA key for it, so the OID of the SPKI's algorithm is what tells the two apart.
    """
    if algorithm == x509.PublicKeyAlgorithmOID.RSASSA_PSS.dotted_string:
        raise ValueError(
            "its key is for RSASSA-PSS signatures alone (id-RSASSA-PSS), which are not made here: use a certificate"
            " with a P-256, P-384, Ed25519 or plain RSA key (rsaEncryption)"
        )


def key_hash(key_bits: bytes) -> bytes:
    """SHA-1 of the key bits: KeyHash of a byKey ResponderID, always SHA-1 (RFC 6960 4.2.1)."""
    return hashlib.sha1(key_bits, usedforsecurity=False).digest()
