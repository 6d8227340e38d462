"""The state of CRLs, of every issuer in one query: when they are due, what is served, what builds came to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cachewarm.ledger.connect import Connection, one_row, translated

#: Builds per issuer that `cached_crls` returns.
RECENT = 5


@dataclass(frozen=True, kw_only=True)
class ScheduledCRL:
    """State by which the CRLs of an issuer are due; ages in seconds, None where there is no such CRL.

    `is_usable`: there is a complete CRL and it has not expired. `parts`: the names of its deltas and shards.
    `versions`: the versions of all its rows, which every write changes.
    """

    issuer_id: str
    age_s: float | None
    is_usable: bool
    generation: int | None
    seq: int | None
    parts: frozenset[str]
    delta_age_s: float | None
    versions: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class CRLState:
    """The state of an issuer's CRL: the one served, None when there is none; the last build if it failed."""

    issuer_id: str
    crl_number: int | None
    this_update: datetime | None
    next_update: datetime | None
    revoked_count: int | None
    failed_at: datetime | None
    error: str | None


async def crl_states(connection: Connection) -> list[CRLState]:
    """Of every issuer, by id."""
    with translated():
        rows = await connection.fetch(
            """select i.issuer_id, c.crl_number::text, c.this_update, c.next_update, c.revoked_count,
                      e.started_at as failed_at, e.error
                 from issuers i left join crl_cache c using (issuer_id)
                 left join lateral (
                   select succeeded, started_at, error from crl_generation_events b
                    where b.issuer_id = i.issuer_id order by started_at desc, id desc limit 1) e on not e.succeeded
                order by i.issuer_id"""
        )
    return [
        CRLState(**dict(row) | {"crl_number": None if row["crl_number"] is None else int(row["crl_number"])})
        for row in rows
    ]


async def scheduled_crls(connection: Connection, only: Sequence[str] | None = None) -> dict[str, ScheduledCRL]:
    """Return, by issuer id, what decides whether CRLs are due, of all issuers or of those, at one moment."""
    with translated():
        rows = await connection.fetch(
            """select i.issuer_id, extract(epoch from now() - c.this_update)::float8 as age_s,
                      coalesce(c.next_update > now() and octet_length(c.crl_der) > 0, false) as is_usable,
                      c.generation, c.seq, p.parts, p.delta_age_s, array_append(p.versions, c.xmin::text) as versions
                 from issuers i left join crl_cache c using (issuer_id)
                 left join lateral (
                   select array_agg(part) as parts, array_agg(xmin::text) as versions,
                          extract(epoch from now() - min(this_update) filter (where part = 'delta'))::float8
                            as delta_age_s
                     from crl_parts q where q.issuer_id = i.issuer_id) p on true
                where $1::text[] is null or i.issuer_id = any($1)""",
            None if only is None else list(only),
        )
    return {row["issuer_id"]: _scheduled(dict(row)) for row in rows}


def _scheduled(row: dict[str, Any]) -> ScheduledCRL:
    versions = frozenset(each for each in row["versions"] if each is not None)
    return ScheduledCRL(**row | {"parts": frozenset(row["parts"] or ()), "versions": versions})


async def oldest_place(connection: Connection, generation: int) -> int | None:
    """Return the place of the feed of the CRL that has seen least in that generation; None when there is none."""
    with translated():
        oldest: int | None = await connection.fetchval(
            "select min(seq) from crl_cache where generation = $1", generation
        )
    return oldest


async def events_after(connection: Connection, seq: int, limit: int) -> list[tuple[int, bytes]]:
    """Return the next events of the feed after `seq`, at most `limit`: their places and payloads."""
    with translated():
        rows = await connection.fetch(
            "select seq, payload from revocation_events where seq > $1 order by seq limit $2", seq, limit
        )
    return [(row["seq"], row["payload"]) for row in rows]


# One statement, so that all rows are of one moment. An event is a build, or a fetch of a mirrored CRL.
_CACHED = f"""
select i.issuer_id, c.issuer_id is not null as cache_present, c.crl_number::text as crl_number, c.this_update,
       c.next_update, c.generated_at, c.generation_duration_ms, c.revoked_count,
       c.next_update is not null and c.next_update <= now() as is_stale,
       coalesce((select jsonb_agg(e order by e.started_at desc) from (
         select kind, started_at, succeeded, error, duration_ms, crl_number::text as crl_number, revoked_count, remarks
           from crl_generation_events g where g.issuer_id = i.issuer_id order by g.started_at desc, g.id desc
          limit {RECENT}) e), '[]')::text as recent_events
  from issuers i left join crl_cache c using (issuer_id) order by i.issuer_id
"""  # noqa: S608 - our own constant


async def cached_crls(connection: Connection) -> tuple[datetime, list[dict[str, Any]]]:
    """Return the ledger's time, and for every issuer its row of crl_cache with its last builds, by id."""
    with translated():
        now = (await one_row(connection, "select now() as now"))["now"]
        rows = [dict(row) for row in await connection.fetch(_CACHED)]
    return now, [row | {"recent_events": json.loads(row["recent_events"])} for row in rows]
