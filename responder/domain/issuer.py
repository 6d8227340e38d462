"""An issuer: the CA whose certificates are asked about, and what its CertIDs look like.

Pure: DER in, values out. RFC 6960 4.1.1 (issuerNameHash, issuerKeyHash).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from responder.domain.certificate import read_facts
from responder.domain.crl_window import CRLWindow
from responder.domain.status import HashAlgorithm, UnissuedPolicy

#: It is a path segment, a file name and a key prefix: no slash, no leading dot, nothing to escape.
ISSUER_ID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.ASCII)


class IssuerTraits(TypedDict, total=False):
    """Fields of `Issuer` besides its id, its number and its certificate."""

    unissued_policy: UnissuedPolicy
    ocsp_url: str | None
    crl_url: str | None
    ca_issuers_url: str | None
    publishes_crl: bool
    windows: tuple[CRLWindow, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One CA. `issuer_no` is the ledger's short number of it; `not_after` is epoch seconds, inclusive.

    `windows`, newest first, when the status of its certificates comes from mirrored CRLs; None otherwise.
    """

    issuer_id: str
    issuer_no: int
    cert_der: bytes = field(repr=False)
    subject_der: bytes = field(repr=False)
    name_hashes: Mapping[HashAlgorithm, bytes] = field(repr=False, hash=False)
    key_hashes: Mapping[HashAlgorithm, bytes] = field(repr=False, hash=False)
    not_after: int
    unissued_policy: UnissuedPolicy = UnissuedPolicy.UNAUTHORIZED
    ocsp_url: str | None = None
    crl_url: str | None = None
    ca_issuers_url: str | None = None
    publishes_crl: bool = True
    windows: tuple[CRLWindow, ...] | None = None

    @classmethod
    def from_certificate(
        cls,
        cert_der: bytes,
        *,
        issuer_id: str,
        issuer_no: int,
        **traits: Unpack[IssuerTraits],
    ) -> "Issuer":
        """The issuer of that CA certificate; ValueError for a bad id or a certificate that does not parse."""
        facts = read_facts(cert_der)
        return cls(
            issuer_id=check_issuer_id(issuer_id),
            issuer_no=issuer_no,
            cert_der=cert_der,
            subject_der=facts.subject_der,
            name_hashes=_hashes(facts.subject_der),
            key_hashes=_hashes(facts.key_bits),
            not_after=facts.not_after,
            **traits,
        )


def check_issuer_id(issuer_id: str) -> str:
    """The id itself; ValueError unless it is of the form that ISSUER_ID allows."""
    if ISSUER_ID.fullmatch(issuer_id) is None:
        raise ValueError(
            f"not an issuer id: {issuer_id!r}; 1 to 63 of a-z 0-9 . _ -, with a letter or a digit at both ends"
        )
    return issuer_id


def _hashes(octets: bytes) -> Mapping[HashAlgorithm, bytes]:
    return {each: hashlib.new(each.hashlib_name, octets, usedforsecurity=False).digest() for each in HashAlgorithm}
