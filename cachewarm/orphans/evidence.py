"""Evidence that a certificate was revoked: a CRL or an OCSP answer that the issuer, or a responder of it, signed.

Pure: bytes in, entries out. The times of validity are not looked at: an old answer proves what it stated. RFC 5280 5.1,
RFC 6960 4.2.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asn1crypto import ocsp, pem
from asn1crypto import x509 as asn1_x509

from cachewarm.crl import rules
from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.rules import CAFacts, CRLProblem
from cachewarm.errors import Refused
from cachewarm.ledger.orphans import CRLEntry
from responder.domain.certificate import read_any_public_key
from responder.domain.issuer import Issuer
from responder.domain.serial import serial_octets
from responder.domain.signature import is_signed_by
from responder.domain.status import CRLReason, HashAlgorithm


@dataclass(frozen=True)
class Evidence:
    """Contents of a verified document: its name for the audit chain, and its revoked certificates by serial.

    `crl` is the CRL without its entries, None for an OCSP answer.
    """

    name: str
    entries: Mapping[bytes, CRLEntry]
    crl: ReadCRL | None = None


def read_evidence(issuer: Issuer, document: bytes) -> Evidence:
    """Return the revocations of that issuer in a CRL or OCSP answer, DER or PEM; Refused where nothing is proved."""
    der = _without_armor(document)
    crl = rules.read_crl(der)
    if not isinstance(crl, CRLProblem):
        ca = CAFacts.of(issuer.cert_der)
        checks = (*rules.issuer_problems(crl, ca, is_ours=False), *rules.signature_problems(crl, ca))
        problem = rules.first_problem(checks)
        if problem is not None:
            raise Refused(f"the CRL is no evidence for {issuer.issuer_id}: {problem}")
        return Evidence(f"CRL {crl.number}", {entry[0]: entry for entry in _listed(crl)}, crl)
    try:
        answer = ocsp.OCSPResponse.load(der, strict=True)
        basic = answer["response_bytes"]["response"].parsed
        entries = dict(_stated(issuer, basic))
        is_proved = _is_proved(issuer, basic)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(f"neither a CRL ({crl.text}) nor an OCSP answer: {error}") from error
    if not is_proved:
        raise Refused(f"the OCSP answer is no evidence: neither {issuer.issuer_id} nor a responder of it signed it")
    return Evidence("OCSP answer", entries)


def _without_armor(document: bytes) -> bytes:
    if not pem.detect(document):
        return document
    try:
        return bytes(pem.unarmor(document)[2])
    except ValueError as error:
        raise Refused(f"the PEM cannot be read: {error}") from error


def _listed(crl: Any) -> Iterator[CRLEntry]:
    try:
        for entry in crl.entries():
            if entry.reason != CRLReason.removeFromCRL:
                yield entry.serial, entry.revoked_at, int(entry.reason), entry.invalidity_date
    except ValueError as error:
        raise Refused(f"an entry of the CRL cannot be read: {error}") from error


def _is_proved(issuer: Issuer, basic: Any) -> bool:
    signed = basic["signature_algorithm"].dump(), basic["signature"].native, basic["tbs_response_data"].dump()
    ca_key = read_any_public_key(issuer.cert_der)
    if is_signed_by(ca_key, *signed):
        return True
    return any(_may_sign(cert, ca_key) and is_signed_by(_key_of(cert), *signed) for cert in basic["certs"] or ())


def _may_sign(cert: asn1_x509.Certificate, ca_key: object) -> bool:
    """A responder's certificate: signed by the CA, for OCSP signing (RFC 6960 4.2.2.2)."""
    usage = cert.extended_key_usage_value
    signed = cert["signature_algorithm"].dump(), cert["signature_value"].native, cert["tbs_certificate"].dump()
    return usage is not None and "ocsp_signing" in usage.native and is_signed_by(ca_key, *signed)


def _key_of(cert: asn1_x509.Certificate) -> object:
    return read_any_public_key(cert.dump())


def _stated(issuer: Issuer, basic: Any) -> Iterator[tuple[bytes, CRLEntry]]:
    """Revoked certificates of that issuer; extended-revoke (RFC 6960 2.2), which revokes nothing, is from 1970."""
    ours = {(issuer.name_hashes[each], issuer.key_hashes[each]) for each in HashAlgorithm}
    for single in basic["tbs_response_data"]["responses"]:
        cert_id, status = single["cert_id"], single["cert_status"]
        if (
            status.name != "revoked"
            or (cert_id["issuer_name_hash"].native, cert_id["issuer_key_hash"].native) not in ours
        ):
            continue
        at = int(status.chosen["revocation_time"].native.timestamp())
        reason = status.chosen["revocation_reason"]
        if at > 0:
            serial = serial_octets(cert_id["serial_number"].native)
            yield serial, (serial, at, 0 if reason.native is None else reason.contents[-1], None)
