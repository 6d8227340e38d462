"""Check the published CRLs of an issuer as a client would: each is parsed, its signature and window verified.

This is the gate that a CRL passed when it was published, without a previous CRL. It finds rows that were changed since
and CRLs that expired.
"""

from dataclasses import dataclass
from datetime import datetime

from _fastocsp.crl.fields import Scope
from cachewarm.crl.parts import COMPLETE, DELTA, part_url, scope_of
from cachewarm.crl.publish_gate import Expected, gate
from cachewarm.crl.rules import CRLProblem
from cachewarm.ledger import crl_parts, crls
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer
from cachewarm.records.keyring import domain_issuer


@dataclass(frozen=True, kw_only=True)
class Published:
    """One CRL that is served; `part` is its name in cachewarm.crl.parts."""

    part: str
    crl_number: int
    base_number: int | None
    crl_der: bytes
    this_update: datetime
    next_update: datetime
    revoked_count: int


async def published_crls(connection: Connection, issuer_id: str) -> list[Published]:
    """Return the complete CRL first, then the delta, then the shards by number."""
    complete = await crls.read_crl(connection, issuer_id)
    found = [] if complete is None else [_of(complete, COMPLETE, None)]
    parts = await crl_parts.read_parts(connection, issuer_id)
    names = sorted(parts, key=lambda name: -1 if name == DELTA else int(name))
    return found + [_of(parts[name], name, parts[name].base_number) for name in names]


def check_published(issuer: Issuer, one: Published, now: int) -> str | None:
    """Return None when a client can use the CRL, else what is wrong."""
    delta_url = part_url(issuer.crl_url, DELTA) if one.part == COMPLETE and issuer.delta_crl else None
    scope: Scope = scope_of(issuer, one.part)
    expected = Expected(scope=scope, base_number=one.base_number, freshest_url=delta_url)
    checked = gate(one.crl_der, None, domain_issuer(issuer).cert_der, expected, now=now)
    if isinstance(checked, CRLProblem):
        return str(checked)
    if checked != one.revoked_count:
        return f"entries: the CRL has {checked} entries, its row {one.revoked_count}"
    return None


def _of(row: crls.CachedCRL | crls.CRLPart, part: str, base_number: int | None) -> Published:
    return Published(
        part=part,
        crl_number=row.crl_number,
        base_number=base_number,
        crl_der=row.crl_der,
        this_update=row.this_update,
        next_update=row.next_update,
        revoked_count=row.revoked_count,
    )
