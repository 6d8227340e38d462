"""CRLs: numbers that only grow, the current CRL of each issuer, what deltas are based on, a log of every build."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime

from cachewarm.errors import Transient
from cachewarm.ledger.connect import Connection, translated
from cachewarm.ledger.crl_pieces import PIECE, STAGED, StoredCRL, read_whole, stage

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
            await stage(connection, crl.crl_der)
            return await _write_crl(connection, crl, STAGED)


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
    """Return the issuer's complete CRL, or None before the first build."""
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
        fields = dict(row) | {"crl_number": int(row["crl_number"])}
        stored = StoredCRL(issuer_id, "", fields["crl_number"], fields.pop("size"))
        with suppress(Transient):  # another one has replaced it
            return CachedCRL(**fields, crl_der=await read_whole(connection, stored))


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
