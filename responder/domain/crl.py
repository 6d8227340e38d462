"""Read from a CRL what is needed to serve it (RFC 5280 5.1).

Names and entries are not looked at: a CRL with an unusual name or entry is served as it is, once its issuer's signature
was verified. Pure: DER in, values out.
"""

from dataclasses import dataclass

from asn1crypto import crl as asn1_crl

from responder.domain.certificate import UNREADABLE, read_any_public_key
from responder.domain.signature import is_signed_by


@dataclass(frozen=True, slots=True)
class CRLFacts:
    """Window of a CRL in epoch seconds, and whether its issuer signed it."""

    this_update: int
    next_update: int | None
    is_signed: bool


def read_crl_facts(der: bytes, issuer_cert: bytes) -> CRLFacts:
    """Return the facts of one DER CRL under that CA certificate; ValueError when it cannot be read."""
    try:
        crl = asn1_crl.CertificateList.load(der, strict=True)
        tbs = crl["tbs_cert_list"]
        next_update = tbs["next_update"].native
        facts = int(tbs["this_update"].native.timestamp()), next_update and int(next_update.timestamp())
        signed = crl["signature_algorithm"].dump(), crl["signature"].native, tbs.dump()
        key = read_any_public_key(issuer_cert)
    except (*UNREADABLE, OverflowError, AttributeError) as error:
        raise ValueError(f"not a DER CRL: {error}") from error
    return CRLFacts(*facts, is_signed_by(key, *signed))
