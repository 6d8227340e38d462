"""Fences: issuers for which nothing but revocations is answered, as the ledger may lack some. Evidence, lifting."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cachewarm.ledger.connect import Connection, changing, translated
from cachewarm.ledger.orphans import CRLEntry

#: As the driver returns Postgres's `infinity`, but with a time zone.
ALWAYS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Fence:
    """The fence of one issuer. What the ledger may lack was revoked from `gap_from` to `gap_until`; evidence covers it
    up to `covered_until`. `orphans`: open ones of the issuer.
    """

    issuer_id: str
    since: datetime
    generation: int
    reason: str
    gap_from: datetime
    gap_until: datetime
    covered_until: datetime
    evidence: tuple[dict[str, Any], ...]
    orphans: int

    @property
    def gap(self) -> tuple[datetime, datetime] | None:
        """The interval that nothing covers, None when evidence covers all of it."""
        return None if self.covered_until >= self.gap_until else (self.covered_until, self.gap_until)


async def open_fences(connection: Connection) -> list[Fence]:
    """Return the fences that are not lifted, by issuer; that of a removed issuer counts again when it is restored."""
    with translated():
        rows = await connection.fetch(
            """select f.issuer_id, f.since, f.generation, f.reason, f.gap_from, f.gap_until, f.covered_until,
                      f.evidence,
                      (select count(*) from orphans o where o.issuer_id = f.issuer_id and o.state = 'open') as orphans
                 from issuer_fences f join issuers i using (issuer_id)
                where f.lifted_at is null and i.state <> 'removed' order by f.issuer_id"""
        )
    return [
        Fence(
            **dict(row)
            | {"evidence": tuple(json.loads(row["evidence"])), "covered_until": _aware(row["covered_until"])}
        )
        for row in rows
    ]


async def cover(
    connection: Connection, issuer_id: str, until: datetime, evidence: Mapping[str, object], *, actor: str
) -> bool:
    """Enter evidence that covers the gap up to that moment, ALWAYS for all of it; False: there is no fence."""
    with changing():
        return bool(
            await connection.fetchval(
                "select issuer_fence_cover($1, $2, coalesce($3::timestamptz, 'infinity'), $4::text::jsonb)",
                actor,
                issuer_id,
                None if until >= ALWAYS else until,
                json.dumps(dict(evidence)),
            )
        )


async def lift(connection: Connection, issuer_id: str, *, actor: str) -> bool:
    """Lift the fence; False: there is none, or evidence does not cover the gap."""
    with changing():
        return bool(await connection.fetchval("select issuer_fence_lift($1, $2)", actor, issuer_id))


async def is_made_here(connection: Connection, issuer_id: str, number: int) -> bool:
    """Return whether this ledger made, or may have made, a CRL of that number: it lists no more than the ledger has."""
    with translated():
        return bool(
            await connection.fetchval(
                """with asked as (select $1 as issuer_id, $2::text::numeric as crl_number)
                   select exists (select from crl_generation_events join asked using (issuer_id, crl_number))
                       or exists (select from crl_cache join asked using (issuer_id, crl_number))
                       or exists (select from crl_parts join asked using (issuer_id, crl_number))""",
                issuer_id,
                str(number),
            )
        )


async def with_later_time(connection: Connection, issuer_id: str, entries: Sequence[CRLEntry]) -> set[bytes]:
    """Return which of these the ledger has with a later time of revocation, in whole seconds."""
    with translated():
        rows = await connection.fetch(
            """select u.s from unnest($2::bytea[], $3::int8[]) u(s, t)
                 join certificate_revocations r on r.issuer_id = $1 and r.serial_number = u.s
                where r.revoked_at >= to_timestamp(u.t + 1)""",
            issuer_id,
            [entry[0] for entry in entries],
            [entry[1] for entry in entries],
        )
    return {row["s"] for row in rows}


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
