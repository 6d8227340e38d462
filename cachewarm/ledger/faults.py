"""Faults that keep the warmer from working for one issuer, for `fastocsp status` and the edges' readiness."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.connect import Connection, translated

#: Work that one issuer's fault may stop for that issuer alone; ORPHANS stop nothing, and wait for a
#: person; without the CA_SIGNER an issuer gets no certificates and no CRLs.
RESPONDER, WALK, ORPHANS, CA_SIGNER = "responder", "walk", "orphans", "ca-signer"


@dataclass(frozen=True, kw_only=True)
class IssuerFault:
    """A fault that is still there: since when, how many attempts failed, and what the last one said."""

    issuer_id: str
    work: str
    fault: str
    since: datetime
    failures: int


async def note_faults(connection: Connection, work: str, faults: Mapping[str, str]) -> None:
    """Replace that work's faults by these, by issuer; a fault that stays keeps its beginning and counts on."""
    with translated():
        async with connection.transaction():
            await connection.execute(
                "delete from issuer_faults where work = $1 and issuer_id <> all($2::text[])", work, list(faults)
            )
            await connection.executemany(
                """insert into issuer_faults as f (issuer_id, work, fault)
                   select $1, $2, $3 where exists (select from issuers where issuer_id = $1)
                   on conflict (issuer_id, work) do update
                     set fault = excluded.fault, at = now(), failures = f.failures + 1,
                         since = case when f.fault = excluded.fault then f.since else now() end""",
                [(issuer_id, work, fault) for issuer_id, fault in faults.items()],
            )


async def issuer_faults(connection: Connection) -> list[IssuerFault]:
    """Return every fault, by issuer."""
    with translated():
        rows = await connection.fetch(
            "select issuer_id, work, fault, since, failures from issuer_faults order by issuer_id, work"
        )
    return [IssuerFault(**dict(row)) for row in rows]
