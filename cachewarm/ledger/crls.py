"""CRLs: numbers that only grow, the current CRLs of each issuer, what deltas are based on, a log of every build."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.connect import Connection, translated


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class CRLBase:
    """A complete CRL that deltas may be based on: the last change it had seen, and what it left out as expired."""

    issuer_id: str
    crl_number: int
    this_update: datetime
    change_no: int
    expired_before: datetime


@dataclass(frozen=True)
class CRLBuild:
    """One build, good or not; `kind` is "complete" (with all that belongs to it) or "delta".

    Of kind "mirror" is a fetch of another CA's CRL, with the word for why it failed in `fault`.
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


@dataclass(frozen=True)
class CRLState:
    """How it stands with an issuer's CRL: the one served, None when there is none; the last build if it failed."""

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


async def next_crl_number(connection: Connection, issuer_id: str) -> int:
    """The next CRLNumber; nobody gets it a second time."""
    with translated():
        return int(await connection.fetchval("select next_crl_number($1)", issuer_id))


async def raise_crl_number(connection: Connection, issuer_id: str, last: int) -> int:
    """The next number lies above `last` (a CA that numbered elsewhere; a restore). The last one used."""
    with translated():
        return int(await connection.fetchval("select raise_crl_number($1, $2::text::numeric)", issuer_id, str(last)))


async def write_crl(connection: Connection, crl: CachedCRL) -> bool:
    """Replace the issuer's CRL unless the one there has a higher number; False: it has, and stays."""
    with translated():
        done = await connection.execute(
            """insert into crl_cache as c (issuer_id, crl_number, crl_der, this_update, next_update, generated_at,
                 generation_duration_ms, revoked_count, generation, seq)
                 values ($1, $2::text::numeric, $3, $4, $5, $6, $7, $8, $9, $10)
               on conflict (issuer_id) do update set crl_number = excluded.crl_number, crl_der = excluded.crl_der,
                 this_update = excluded.this_update, next_update = excluded.next_update,
                 generated_at = excluded.generated_at,
                 generation_duration_ms = excluded.generation_duration_ms, revoked_count = excluded.revoked_count,
                 generation = excluded.generation, seq = excluded.seq
               where c.crl_number < excluded.crl_number""",
            crl.issuer_id,
            str(crl.crl_number),
            crl.crl_der,
            crl.this_update,
            crl.next_update,
            crl.generated_at,
            crl.generation_duration_ms,
            crl.revoked_count,
            crl.generation,
            crl.seq,
        )
    return bool(done.endswith(" 1"))


async def read_crl(connection: Connection, issuer_id: str) -> CachedCRL | None:
    """The issuer's CRL."""
    with translated():
        row = await connection.fetchrow(
            """select issuer_id, crl_number, crl_der, this_update, next_update, generated_at, generation_duration_ms,
                      revoked_count, generation, seq
                 from crl_cache where issuer_id = $1""",
            issuer_id,
        )
    return CachedCRL(**dict(row) | {"crl_number": int(row["crl_number"])}) if row else None


async def log_crl_build(connection: Connection, build: CRLBuild) -> None:
    """Every build is logged, failures too."""
    with translated():
        await connection.execute(
            """insert into crl_generation_events
                 (issuer_id, started_at, succeeded, error, duration_ms, crl_number, revoked_count, kind, fault)
               values ($1, $2, $3, $4, $5, $6::text::numeric, $7, $8, $9)""",
            build.issuer_id,
            build.started_at,
            build.succeeded,
            build.error,
            build.duration_ms,
            None if build.crl_number is None else str(build.crl_number),
            build.revoked_count,
            build.kind,
            build.fault,
        )


async def crl_builds(connection: Connection, issuer_id: str, limit: int = 50) -> list[CRLBuild]:
    """The latest builds, newest first."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id, started_at, succeeded, error, duration_ms, crl_number, revoked_count, kind, fault
                 from crl_generation_events where issuer_id = $1 order by started_at desc, id desc limit $2""",
            issuer_id,
            limit,
        )
    return [
        CRLBuild(**dict(row) | {"crl_number": None if row["crl_number"] is None else int(row["crl_number"])})
        for row in rows
    ]


@asynccontextmanager
async def crl_turn(connection: Connection, issuer_id: str) -> AsyncIterator[bool]:
    """One builder per issuer in the whole cluster: True when it is our turn, False when another one is at it."""
    with translated():
        ours: bool = await connection.fetchval(
            "select pg_try_advisory_lock(hashtext('fastocsp.crl'), hashtext($1))", issuer_id
        )
    try:
        yield ours
    finally:
        if ours and not connection.is_closed():
            with translated():
                await connection.execute("select pg_advisory_unlock(hashtext('fastocsp.crl'), hashtext($1))", issuer_id)
