"""A certificate authority: its certificate with its key, and how a root or a subordinate one is made.

RFC 5280 4.2.1.9 (basicConstraints), 4.2.1.3 (keyUsage). Values in, values out: who stores what is the caller's matter.
"""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from cachewarm.ca.certificate import (
    BACKDATE_S,
    Issued,
    epoch,
    key_identifier,
    moment,
    new_serial,
    read_certificate,
)
from cachewarm.ca.odd_names import sign_below
from cachewarm.ca.profiles import CA_KEY_USAGE, ROOT_VALIDITY_S, SUB_CA_VALIDITY_S, Pointers
from cachewarm.errors import Refused
from cachewarm.keys.builders import sign_certificate
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import SoftKey
from responder.domain.certificate import refuse_pss_key
from responder.domain.serial import serial_octets


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)

    def __post_init__(self) -> None:
        check_ca(self.certificate)
        if self.certificate.public_key() != self.key.public_key:
            raise Refused(f"the key does not belong to the certificate of {self.name}")

    @classmethod
    def load(cls, cert_path: Path, key_path: Path, passphrase: bytes | None = None) -> "Authority":
        """The CA of two files; FileNotFoundError when one is missing, Refused when they are no CA."""
        certificate = read_certificate(cert_path.read_bytes(), name=str(cert_path))
        return cls(certificate, SoftKey.load(key_path, passphrase))

    @property
    def name(self) -> str:
        """Its subject, for people."""
        return self.certificate.subject.rfc4514_string()

    @property
    def not_after(self) -> int:
        """Its last second, epoch."""
        return epoch(self.certificate.not_valid_after_utc)

    @property
    def not_before(self) -> int:
        """Its first second, epoch."""
        return epoch(self.certificate.not_valid_before_utc)

    @property
    def path_length(self) -> int | None:
        """How many CAs may stand below it; None when nothing is said."""
        return self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length

    def window(self, now: int, validity_s: int | None, default_s: int) -> tuple[int, int]:
        """Return the notBefore and notAfter of a certificate issued now, within the CA's own.

        A length that was not asked for is cut to the CA's; one that was asked for and does not fit is Refused.
        """
        not_after = now + (default_s if validity_s is None else check_validity(validity_s))
        if now >= self.not_after:
            raise Refused(f"the certificate of {self.name} has expired: it can issue nothing any more")
        if now < self.not_before:
            raise Refused(f"the certificate of {self.name} is not valid yet: it can issue nothing")
        if validity_s is not None and not_after > self.not_after:
            days = (self.not_after - now) / 86400
            raise Refused(f"{self.name} itself ends in {days:.1f} days: ask for no longer validity than that")
        return max(now - BACKDATE_S, self.not_before), min(not_after, self.not_after)


def init_root(
    key: SigningKey, subject: x509.Name, *, now: int, validity_s: int = ROOT_VALIDITY_S, path_length: int | None = None
) -> Issued:
    """A self-signed CA certificate, without pointers: a root cannot be revoked (RFC 5280 3.2)."""
    builder = _ca_builder(key, subject, path_length, new_serial()).issuer_name(subject)
    builder = builder.not_valid_before(moment(now - BACKDATE_S)).not_valid_after(
        moment(now + check_validity(validity_s))
    )
    return Issued.of(sign_certificate(builder, key))


def init_sub(
    key: SigningKey,
    subject: x509.Name,
    parent: Authority,
    *,
    now: int,
    pointers: Pointers,
    validity_s: int | None = None,
    path_length: int | None = 0,
) -> Issued:
    """A CA certificate signed by the parent; the pointers are those of the parent's status and certificate."""
    if subject == parent.certificate.subject:
        raise Refused("a subordinate CA needs a subject of its own: with its parent's it would look self-issued")
    not_before, not_after = parent.window(now, validity_s, SUB_CA_VALIDITY_S)
    serial = new_serial()
    builder = _ca_builder(key, subject, _below(parent, path_length), serial).issuer_name(parent.certificate.subject)
    builder = builder.not_valid_before(moment(not_before)).not_valid_after(moment(not_after))
    builder = builder.add_extension(authority_key_identifier(parent.certificate), critical=False)
    for extension in pointers.extensions(serial_octets(serial)):
        builder = builder.add_extension(extension, critical=False)
    return Issued.of(sign_below(builder, parent.certificate, parent.key))


def check_validity(validity_s: int) -> int:
    """The length itself, in seconds; Refused when it is none."""
    if validity_s <= 0:
        raise Refused(f"a certificate valid for {validity_s} seconds is of no use")
    return validity_s


def check_ca(certificate: x509.Certificate) -> None:
    """Refused unless it may sign certificates (RFC 5280 4.2.1.9, 4.2.1.3), with a key that can sign here."""
    name = certificate.subject.rfc4514_string()
    try:
        refuse_pss_key(certificate.public_key_algorithm_oid.dotted_string)
    except ValueError as error:
        raise Refused(f"{name}: {error}") from error
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise Refused(f"{name or 'the certificate'} is not a CA: {error}") from error
    if not constraints.ca:
        raise Refused(f"{name or 'the certificate'} is not a CA: its basicConstraints say cA FALSE")
    if not certificate.subject.rdns:
        raise Refused("a CA certificate needs a subject")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise Refused(f"{name} may not sign certificates: its keyUsage lacks keyCertSign")


def may_sign_crls(certificate: x509.Certificate) -> bool:
    """Return whether verifiers accept CRLs of that CA: a keyUsage must have cRLSign (RFC 5280 4.2.1.3)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The extension that points at that CA's key."""
    return x509.AuthorityKeyIdentifier(key_identifier(ca), None, None)


def _ca_builder(key: SigningKey, subject: x509.Name, path_length: int | None, serial: int) -> x509.CertificateBuilder:
    if not subject.rdns:
        raise Refused("a CA certificate needs a subject")
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key).serial_number(serial)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(CA_KEY_USAGE, critical=True)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key), critical=False)


def _below(parent: Authority, path_length: int | None) -> int | None:
    above = parent.path_length
    if above is None:
        return path_length
    if above == 0:
        raise Refused(f"{parent.name} may have no CA below it (pathLenConstraint 0)")
    return above - 1 if path_length is None else min(path_length, above - 1)
