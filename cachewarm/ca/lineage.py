"""Whether a CA may issue: its own state, and that of every CA above it which is an issuer here.

Nothing is issued below a CA that is frozen, has expired, or whose certificate is revoked at its parent. The serving
certificate counts, whatever it was revoked for; another certificate of the same key counts where it was revoked for a
compromise, which is the key's.
"""

import time

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from cachewarm.ca.certificate import epoch
from cachewarm.ca.odd_names import load_certificate, verify_issued
from cachewarm.errors import Refused
from cachewarm.ledger import ca_signer
from cachewarm.ledger.ca_signer import SigningIssuer
from cachewarm.ledger.connect import Queries
from cachewarm.ledger.issuer_states import ACTIVE
from responder.domain.certificate import UNREADABLE
from responder.domain.serial import serial_octets
from responder.domain.status import CRLReason

_COMPROMISED = (CRLReason.keyCompromise, CRLReason.cACompromise)


async def require_issuance(connection: Queries, issuer: SigningIssuer) -> None:
    """Raise Refused, naming the CA and the reason, when nothing may be issued by this issuer now."""
    seen, path = set[str](), [issuer]
    while path:
        at = path.pop()
        if at.issuer_id in seen:
            continue
        seen.add(at.issuer_id)
        serving = load_certificate(at.cert_der)
        _require_usable(at, serving, issuer.issuer_id)
        for cert_der in {at.cert_der, *await ca_signer.certificates_of(connection, at.issuer_id)}:
            certificate = serving if cert_der == at.cert_der else load_certificate(cert_der)
            parent = await _parent_of(connection, certificate)
            if parent is None:
                continue
            serial = serial_octets(certificate.serial_number)
            reason = await ca_signer.revocation_reason(connection, parent.issuer_id, serial)
            if reason is not None and (certificate is serving or reason in _COMPROMISED):
                raise Refused(
                    f"{_place(at, issuer.issuer_id)} is revoked by {parent.issuer_id} ({CRLReason(reason).name}):"
                    " nothing is issued below it"
                )
            if certificate is serving:
                path.append(parent)


def _require_usable(at: SigningIssuer, certificate: x509.Certificate, issuer_id: str) -> None:
    if at.state != ACTIVE:
        remedy = f" (`fastocsp ca thaw {at.issuer_id}`)" if at.state == "frozen" else ""
        raise Refused(f"{_place(at, issuer_id)} is {at.state}{remedy}: nothing is issued below it")
    if epoch(certificate.not_valid_after_utc) < time.time():
        raise Refused(
            f"{_place(at, issuer_id)} expired at {certificate.not_valid_after_utc.isoformat()}:"
            " nothing is issued below it"
        )


def _place(at: SigningIssuer, issuer_id: str) -> str:
    return at.issuer_id if at.issuer_id == issuer_id else f"{at.issuer_id}, above {issuer_id},"


async def _parent_of(connection: Queries, certificate: x509.Certificate) -> SigningIssuer | None:
    """Return the issuer here whose key signed the certificate, None for a root and for a CA below one elsewhere."""
    if certificate.issuer == certificate.subject:
        return None
    for found in await ca_signer.issuers_named(connection, certificate.issuer.rfc4514_string()):
        try:
            verify_issued(certificate, load_certificate(found.cert_der))
        except (InvalidSignature, *UNREADABLE):
            continue
        return found
    return None
