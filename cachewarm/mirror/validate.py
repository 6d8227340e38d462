"""May this CRL replace the one that is mirrored? RFC 5280 5.1, 5.2, 6.3.3; nothing of it is believed before.

asn1crypto reads the fields, cryptography verifies the signature. A CRL of a part of the certificates is no ground for
calling the others good: its scope must be the issuer's (`crl_scope`). Pure: octets, facts and the time in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from cachewarm.ca.certificate import key_identifier
from cachewarm.crl.build import NUMBER_LIMIT
from cachewarm.crl.parse import ReadCRL, peek_crl
from cachewarm.mirror.faults import Fault, NotMirrored

#: Clocks of a CA and ours may differ by so much.
SKEW_S = 60
_UNDERSTOOD = {"issuing_distribution_point", "delta_crl_indicator"}
_SCOPES: dict[str, set[str]] = {"all": set(), "user": {"only_contains_user_certs"}, "ca": {"only_contains_ca_certs"}}
Broken = tuple[Fault, str]


@dataclass(frozen=True)
class Before:
    """Of the CRL that is mirrored now; None everywhere for the first. The delta's number too: they share a sequence."""

    number: int | None = None
    this_update: int | None = None
    delta_number: int | None = None


def judge(der: bytes, issuer_cert: bytes, scope: str, before: Before, *, now: int) -> ReadCRL:
    """The complete CRL in these octets; NotMirrored with the first rule that it breaks."""
    read = checked(der, issuer_cert, scope, now)
    for fault, text in _against(read, before):
        raise NotMirrored(fault, text)
    return read


def judge_delta(der: bytes, issuer_cert: bytes, scope: str, before: Before, *, now: int) -> ReadCRL:
    """The delta CRL in these octets, for the complete one that is here: RFC 5280 5.2.4, 6.3.3 (c)."""
    read = checked(der, issuer_cert, scope, now, is_delta=True)
    for fault, text in _on(read, before):
        raise NotMirrored(fault, text)
    return read


def checked(der: bytes, issuer_cert: bytes, scope: str, now: int, *, is_delta: bool = False) -> ReadCRL:
    """The CRL, whatever was there before it; NotMirrored with the first rule that it breaks."""
    try:
        read = peek_crl(der)
        parsed = x509.load_der_x509_crl(der)
    except ValueError as error:
        raise NotMirrored(Fault.FORM, f"it is no CRL: {error}") from error
    for fault, text in (
        *_signed(read, parsed, issuer_cert),
        *_formed(read, is_delta=is_delta),
        *_in_window(read, now),
        *_scoped(read, scope),
    ):
        raise NotMirrored(fault, text)
    return read


def _signed(read: ReadCRL, parsed: x509.CertificateRevocationList, issuer_cert: bytes) -> Iterator[Broken]:
    ca = x509.load_der_x509_certificate(issuer_cert)
    if not _same_name(read.issuer_der, ca):
        yield Fault.ISSUER, f"its issuer is {parsed.issuer.rfc4514_string()}, not {ca.subject.rfc4514_string()}"
    if read.authority_key_identifier not in (None, key_identifier(ca)):
        yield Fault.ISSUER, "its authority key identifier is not the CA's key identifier"
    if read.signature_algorithm != read.inner_signature_algorithm:
        yield Fault.SIGNATURE, "it names two signature algorithms"
    if not _verifies(parsed, ca.public_key()):
        yield Fault.SIGNATURE, "its signature does not verify under the CA's key"


def _same_name(issuer_der: bytes, ca: x509.Certificate) -> bool:
    """RFC 5280 7.1: other string types and spaces are the same name."""
    subject = ca.subject.public_bytes()
    return issuer_der == subject or bool(asn1_x509.Name.load(issuer_der) == asn1_x509.Name.load(subject))


def _verifies(parsed: x509.CertificateRevocationList, key: Any) -> bool:
    """With a hash that nobody can make collide."""
    try:
        if isinstance(parsed.signature_hash_algorithm, (hashes.SHA1, hashes.MD5)):
            return False
        return parsed.is_signature_valid(key)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def _formed(read: ReadCRL, *, is_delta: bool) -> Iterator[Broken]:
    if read.number is None or not 0 <= read.number < NUMBER_LIMIT:
        yield (
            Fault.NUMBER,
            "it has no CRL number (RFC 5280 5.2.3); `openssl ca`: crlnumber, crl_extensions",
        )
    if is_delta != (read.base_number is not None):
        yield Fault.BASE, "it is no delta CRL" if is_delta else f"it is a delta CRL on {read.base_number}"
    unknown = read.critical - _UNDERSTOOD
    if unknown:
        yield Fault.FORM, f"critical extensions that are not understood: {', '.join(sorted(unknown))}"


def _in_window(read: ReadCRL, now: int) -> Iterator[Broken]:
    if read.this_update > now + SKEW_S:
        yield Fault.WINDOW, f"its thisUpdate lies {read.this_update - now} s in the future"
    if read.next_update is None:
        yield Fault.WINDOW, "it has no nextUpdate"
    elif read.next_update <= now:
        yield Fault.WINDOW, f"it ended {now - read.next_update} s ago"


def _scoped(read: ReadCRL, scope: str) -> Iterator[Broken]:
    if set(read.scope) - _SCOPES[scope]:
        said = ", ".join(read.scope)
        yield Fault.SCOPE, f"it is about a part alone ({said}), the issuer's --crl-scope is {scope}"


def _against(read: ReadCRL, before: Before) -> Iterator[Broken]:
    last = max((number for number in (before.number, before.delta_number) if number is not None), default=-1)
    assert read.number is not None
    if read.number < last:
        yield Fault.NUMBER, f"its number {read.number} is below {last}, which was here before"
    if read.number == before.number:
        yield Fault.NUMBER, f"it is another CRL of number {read.number}: one number, one CRL (RFC 5280 5.2.3)"
    if before.this_update is not None and read.this_update < before.this_update:
        yield Fault.WINDOW, "its thisUpdate lies before that of the CRL that is here"


def _on(delta: ReadCRL, before: Before) -> Iterator[Broken]:
    assert delta.number is not None
    assert delta.base_number is not None
    if before.number is None or before.this_update is None or delta.base_number > before.number:
        yield Fault.BASE, f"delta {delta.number} is based on {delta.base_number}, here is {before.number}"
        return
    if delta.number < max(before.number, before.delta_number or 0):
        yield Fault.NUMBER, f"delta {delta.number} is older than what is here"
    if delta.number == before.delta_number:
        yield Fault.NUMBER, f"it is another delta of number {delta.number}"
    if delta.this_update < before.this_update:
        yield Fault.WINDOW, "its thisUpdate lies before that of the complete CRL"
