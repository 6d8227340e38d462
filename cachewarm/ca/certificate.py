"""Certificates as the authority hands them out and takes them in.

Times are epoch seconds; `now` is always an argument.
"""

import datetime
import secrets
import string
from dataclasses import dataclass, field

from asn1crypto import pem as asn1_pem
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.ca.odd_names import load_certificate
from cachewarm.errors import Refused
from responder.domain.certificate import UNREADABLE
from responder.domain.serial import serial_octets

#: A client whose clock is slow still takes a new certificate.
BACKDATE_S = 300
#: Bytes of our serial numbers: 126 random bits, first bits 01, so never negative, zero or short (RFC 5280 4.1.2.2).
SERIAL_OCTETS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate and what a ledger writes about it; the window's ends are inclusive."""

    cert_der: bytes = field(repr=False)
    serial: bytes
    subject: str
    not_before: int
    not_after: int

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "Issued":
        """The ledger's view of that certificate; Refused when its serial number breaks RFC 5280 4.1.2.2."""
        try:
            serial = serial_octets(certificate.serial_number)
        except ValueError as error:
            raise Refused(str(error)) from error
        return cls(
            cert_der=certificate.public_bytes(Encoding.DER),
            serial=serial,
            subject=certificate.subject.rfc4514_string(),
            not_before=int(certificate.not_valid_before_utc.timestamp()),
            not_after=int(certificate.not_valid_after_utc.timestamp()),
        )

    @property
    def certificate(self) -> x509.Certificate:
        """Return the certificate as an object of cryptography."""
        return load_certificate(self.cert_der)

    @property
    def pem(self) -> bytes:
        """It, for a file."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def read_certificate(octets: bytes, *, name: str = "the certificate") -> x509.Certificate:
    """The (first) certificate of a PEM text, or the one of a DER file; Refused when there is none.

    Names, key and extensions are parsed here, so that no later look at them fails.
    """
    try:
        certificate = load_certificate(_first_certificate(octets) if b"-----BEGIN" in octets else octets)
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.signature_hash_algorithm
    except UNREADABLE as error:
        raise Refused(f"{name} cannot be read: {_odd_attribute(octets) or error}") from error
    return certificate


def _first_certificate(octets: bytes) -> bytes:
    """Return the DER of the first certificate of a PEM text, which may have other objects and text around it."""
    for kind, _, der in asn1_pem.unarmor(octets, multiple=True):
        if kind in ("CERTIFICATE", "X509 CERTIFICATE"):
            return bytes(der)
    raise ValueError("there is no certificate in it")


#: String types by their tag, and the bytes that are sure to be read alike by everybody (X.680 41.4, RFC 5280 4.1.2.4).
_STRINGS = {
    0x13: ("PrintableString", frozenset(f"{string.ascii_letters}{string.digits} '()+,-./:=?".encode())),
    0x14: ("TeletexString", frozenset(range(0x20, 0x7F))),
}


def _odd_attribute(octets: bytes) -> str | None:
    """Return which attribute of the names has a character that its string type does not allow, None without any."""
    try:
        der = asn1_pem.unarmor(octets)[2] if asn1_pem.detect(octets) else octets
        tbs = asn1.Certificate.load(der)["tbs_certificate"]
        attributes = [pair for field in ("issuer", "subject") for rdn in tbs[field].chosen for pair in rdn]
        for pair in attributes:
            value = getattr(pair["value"], "chosen", pair["value"])
            kind, allowed = _STRINGS.get(value.tag, ("", frozenset(range(256))))
            if value.class_ == 0 and (wrong := [byte for byte in value.contents if byte not in allowed]):
                return (
                    f"the attribute {pair['type'].native} of a name is a {kind} with the character {chr(wrong[0])!r},"
                    f" which that type does not have (RFC 5280 4.1.2.4)"
                )
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return None


def parse_subject(text: str) -> x509.Name:
    """A name from `CN=Example CA,O=Example,C=DE` (RFC 4514) or from a bare common name; never empty."""
    if not text.strip():
        raise Refused("a subject may not be empty: Java cannot parse such a certificate")
    try:
        if "=" not in text:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text.strip())])
        return x509.Name.from_rfc4514_string(text)
    except ValueError as error:
        raise Refused(f"not a subject: {text!r} ({error}); write CN=Name,O=Organization,C=DE") from error


def new_serial() -> int:
    """A serial number from the system's random source."""
    octets = bytearray(secrets.token_bytes(SERIAL_OCTETS))
    octets[0] = octets[0] & 0x3F | 0x40
    return int.from_bytes(octets, "big")


def moment(epoch: int) -> datetime.datetime:
    """Epoch seconds as the builders take them."""
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC)


def epoch(when: datetime.datetime) -> int:
    """Return the epoch seconds of a moment."""
    return int(when.timestamp())


def key_identifier(certificate: x509.Certificate) -> bytes:
    """Its subjectKeyIdentifier, or the one RFC 5280 4.2.1.2 (1) makes of its key."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
