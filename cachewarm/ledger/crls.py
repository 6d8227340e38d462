"""CRLs: numbers that only grow, the current CRLs of each issuer, what deltas are based on, a log of every build."""

import io
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cachewarm.ledger.connect import Connection, one_row, translated

#: Builds per issuer that `cached_crls` returns.
RECENT = 5
#: Bytes of a CRL that travel at once: asyncpg and asyncio copy what they send and receive, some of it three times.
PIECE = 1 << 20
#: Characters of an error that are kept.
ERROR_LIMIT = 1000


@dataclass(frozen=True, kw_only=True)
class CachedCRL:
    """The CRL that is served; `generation` and `seq`: it has the revoked set up to there, None for another CA's."""

    issuer_id: str
    crl_number: int
    crl_der: bytes
    this_update: datetime
    next_update: datetime
    generated_at: datetime
    generation_duration_ms: int
    revoked_count: int
    generation: int | None = None
    seq: int | None = None


@dataclass(frozen=True, kw_only=True)
class CRLPart:
    """A CRL that is served beside the complete one: `part` is "delta" or the number of a shard."""

    issuer_id: str
    part: str
    crl_number: int
    base_number: int | None
    crl_der: bytes
    this_update: datetime
    next_update: datetime
    generated_at: datetime
    revoked_count: int


@dataclass(frozen=True, kw_only=True)
class CRLBase:
    """A complete CRL that deltas may be based on: the last change it had seen, and what it left out as expired."""

    issuer_id: str
    crl_number: int
    this_update: datetime
    change_no: int
    expired_before: datetime


@dataclass(frozen=True, kw_only=True)
class CRLBuild:
    """One build, successful or not; `kind` is "complete" (with all that belongs to it) or "delta".

    Kind "mirror" is a fetch of another CA's CRL: `fault` is the rule that it broke, `remarks` is what was left out of a
    CRL that was taken.
    """

    issuer_id: str
    started_at: datetime
    succeeded: bool
    error: str | None
    duration_ms: int
    crl_number: int | None
    revoked_count: int | None
    kind: str = "complete"
    fault: str | None = None
    remarks: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduledCRL:
    """What decides whether the CRLs of an issuer are due; ages in seconds, None where there is no such CRL.

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


async def next_crl_number(connection: Connection, issuer_id: str) -> int:
    """Spend and return the next CRLNumber; it is never returned again."""
    with translated():
        return int(await connection.fetchval("select next_crl_number($1)", issuer_id))


async def raise_crl_number(connection: Connection, issuer_id: str, last: int) -> int:
    """The next number lies above `last` (a CA that numbered elsewhere; a restore). The last one used."""
    with translated():
        return int(await connection.fetchval("select raise_crl_number($1, $2::text::numeric)", issuer_id, str(last)))


async def write_crl(connection: Connection, crl: CachedCRL) -> bool:
    """Replace the issuer's CRL unless the one there has a higher number; False: it has, and stays."""
    with translated():
        if len(crl.crl_der) <= PIECE:
            return await _write_crl(connection, crl, "$10::bytea", crl.crl_der)
        async with connection.transaction():
            await connection.execute("create temp table if not exists crl_pieces (n int, piece bytea) on commit drop")
            await connection.execute("truncate crl_pieces")
            await connection.copy_records_to_table("crl_pieces", records=_pieces(crl.crl_der))
            return await _write_crl(connection, crl, "(select string_agg(piece, '' order by n) from crl_pieces)")


async def _write_crl(connection: Connection, crl: CachedCRL, der_sql: str, *der: bytes) -> bool:
    done = await connection.execute(
        f"""insert into crl_cache as c (issuer_id, crl_number, this_update, next_update, generated_at,
             generation_duration_ms, revoked_count, generation, seq, crl_der)
             values ($1, $2::text::numeric, $3, $4, $5, $6, $7, $8, $9, {der_sql})
           on conflict (issuer_id) do update set crl_number = excluded.crl_number, crl_der = excluded.crl_der,
             this_update = excluded.this_update, next_update = excluded.next_update,
             generated_at = excluded.generated_at,
             generation_duration_ms = excluded.generation_duration_ms, revoked_count = excluded.revoked_count,
             generation = excluded.generation, seq = excluded.seq
           where c.crl_number < excluded.crl_number""",  # noqa: S608 - our own words
        crl.issuer_id,
        str(crl.crl_number),
        crl.this_update,
        crl.next_update,
        crl.generated_at,
        crl.generation_duration_ms,
        crl.revoked_count,
        crl.generation,
        crl.seq,
        *der,
    )
    return bool(done.endswith(" 1"))


def _pieces(der: bytes) -> Iterator[tuple[int, bytes]]:
    for begin in range(0, len(der), PIECE):
        yield begin, der[begin : begin + PIECE]


async def made_parts(connection: Connection, issuer_id: str, number: int) -> dict[str, int]:
    """Return the names of the published CRLs of that number ("": the complete one) and how many entries each has."""
    with translated():
        rows = await connection.fetch(
            """select '' as part, revoked_count from crl_cache where issuer_id = $1 and crl_number = $2::text::numeric
               union all
               select part, revoked_count from crl_parts where issuer_id = $1 and crl_number = $2::text::numeric
               order by part""",
            issuer_id,
            str(number),
        )
    return {row["part"]: row["revoked_count"] for row in rows}


async def read_crl(connection: Connection, issuer_id: str) -> CachedCRL | None:
    """The issuer's CRL."""
    while True:
        with translated():
            row = await connection.fetchrow(
                """select issuer_id, crl_number::text as crl_number, this_update, next_update, generated_at,
                          generation_duration_ms, revoked_count, generation, seq, octet_length(crl_der) as size
                     from crl_cache where issuer_id = $1""",
                issuer_id,
            )
        if row is None:
            return None
        fields = dict(row)
        der = await _read_pieces(connection, issuer_id, fields["crl_number"], fields.pop("size"))
        if der is not None:
            return CachedCRL(**fields | {"crl_number": int(fields["crl_number"]), "crl_der": der})


async def _read_pieces(connection: Connection, issuer_id: str, number: str, size: int) -> bytes | None:
    """Return the DER of the CRL of that number, held once; None when another one has replaced it."""
    whole = io.BytesIO()
    with translated():
        for begin in range(1, size + 1, PIECE):
            piece = await connection.fetchval(
                """select substring(crl_der from $3 for $4) from crl_cache
                    where issuer_id = $1 and crl_number = $2::text::numeric and octet_length(crl_der) = $5""",
                issuer_id,
                number,
                begin,
                PIECE,
                size,
            )
            if piece is None:
                return None
            whole.write(piece)
    return whole.getvalue()


async def log_crl_build(connection: Connection, build: CRLBuild) -> None:
    """Log a build, successful or not."""
    with translated():
        await connection.execute(
            """insert into crl_generation_events
                 (issuer_id, started_at, succeeded, error, duration_ms, crl_number, revoked_count, kind, fault, remarks)
               values ($1, $2, $3, $4, $5, $6::text::numeric, $7, $8, $9, $10)""",
            build.issuer_id,
            build.started_at,
            build.succeeded,
            plain_text(build.error),
            build.duration_ms,
            None if build.crl_number is None else str(build.crl_number),
            build.revoked_count,
            build.kind,
            build.fault,
            plain_text(build.remarks),
        )


async def crl_builds(connection: Connection, issuer_id: str, limit: int = 50) -> list[CRLBuild]:
    """The latest builds, newest first."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id, started_at, succeeded, error, duration_ms, crl_number, revoked_count, kind, fault,
                      remarks
                 from crl_generation_events where issuer_id = $1 order by started_at desc, id desc limit $2""",
            issuer_id,
            limit,
        )
    return [
        CRLBuild(**dict(row) | {"crl_number": None if row["crl_number"] is None else int(row["crl_number"])})
        for row in rows
    ]


def plain_text(text: str | None) -> str | None:
    """Return the text as Postgres takes it: errors quote bytes of strangers, NUL and lone surrogates among them."""
    if text is None:
        return None
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:ERROR_LIMIT])
    return shown.encode("utf-8", "replace").decode()


@asynccontextmanager
async def crl_turn(
    connection: Connection, issuer_id: str, mutex: AbstractAsyncContextManager[object] | None = None
) -> AsyncIterator[bool]:
    """Take the turn to build or fetch an issuer's CRLs in the whole cluster; False while another one has it.

    `mutex` is held for each statement, for a connection that several tasks share.
    """
    exclusive = mutex or nullcontext()
    async with exclusive:
        with translated():
            ours: bool = await connection.fetchval("select crl_turn_take($1)", issuer_id)
    try:
        yield ours
    finally:
        if ours and not connection.is_closed():
            async with exclusive:
                with translated():
                    await connection.execute(
                        "delete from crl_turns where issuer_id = $1 and pid = pg_backend_pid()", issuer_id
                    )
