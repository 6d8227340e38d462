"""The published CRLs of an issuer, looked at as a client would: each parsed, its signature verified, its window open.

The same gate that a CRL passed when it was published, without one before it; so what was changed in the table since,
or has ended, is found. Pure but for the rows.
"""

from dataclasses import dataclass
from datetime import datetime

from _fastocsp.crl.fields import Scope
from cachewarm.crl.parts import COMPLETE, DELTA, part_url, scope_of
from cachewarm.crl.publish_gate import Expected, Refusal, gate
from cachewarm.ledger import crl_parts, crls
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer
from cachewarm.records.keyring import domain_issuer


@dataclass(frozen=True)
class Published:
    """One CRL that is served; `part` as in cachewarm.crl.parts."""

    part: str
    crl_number: int
    base_number: int | None
    crl_der: bytes
    this_update: datetime
    next_update: datetime
    revoked_count: int


async def published_crls(connection: Connection, issuer_id: str) -> list[Published]:
    """The complete one first, then the delta, then the shards by number."""
    complete = await crls.read_crl(connection, issuer_id)
    found = [] if complete is None else [_of(complete, COMPLETE, None)]
    parts = await crl_parts.read_parts(connection, issuer_id)
    names = sorted(parts, key=lambda name: -1 if name == DELTA else int(name))
    return found + [_of(parts[name], name, parts[name].base_number) for name in names]


def check_published(issuer: Issuer, one: Published, now: int) -> str | None:
    """None when a client can use it, else what is wrong."""
    delta_url = part_url(issuer.crl_url, DELTA) if one.part == COMPLETE and issuer.delta_crl else None
    scope: Scope = scope_of(issuer, one.part)
    expected = Expected(scope=scope, base_number=one.base_number, freshest_url=delta_url)
    verdict = gate(one.crl_der, None, domain_issuer(issuer).cert_der, expected, now=now)
    if isinstance(verdict, Refusal):
        return f"{verdict.rule}: {verdict.text.replace('the new CRL', 'the CRL')}"
    if verdict != one.revoked_count:
        return f"entries: the CRL has {verdict} entries, its row says {one.revoked_count}"
    return None


def _of(row: crls.CachedCRL | crls.CRLPart, part: str, base_number: int | None) -> Published:
    return Published(
        part, row.crl_number, base_number, row.crl_der, row.this_update, row.next_update, row.revoked_count
    )
