"""The feed from the write side: who has acknowledged what, and how far the warmer is.

What an answer of the feed means, and how an item is read, is the read side's: responder.feed and
_fastocsp.revoked.image.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from cachewarm.ledger.connect import Connection, Queries, one_row, translated


class FeedPosition(NamedTuple):
    """Where the feed's head is. `horizon` is the most that any edge may ask for."""

    generation: int
    sysid: int
    tli: str
    seq: int
    chain: bytes
    base: int
    horizon: timedelta


class Lease(NamedTuple):
    """An edge's lease; it has expired when `renewals` stood still for `horizon` on the judge's monotonic clock.

    `leased`: a lease may stand. `login` None: the row stands for leases whose edge has no login, or is not known.
    """

    edge: str
    boot: UUID
    horizon: timedelta
    acked_gen: int
    acked: int
    renewals: int
    at: datetime
    login: str | None
    leased: bool


_LEASE = "edge, boot, horizon, acked_gen, acked, renewals, at, login, leased"


class Cursor(NamedTuple):
    """How far a warmer is, or what a CRL has seen."""

    generation: int
    seq: int


async def feed_position(connection: Queries) -> FeedPosition:
    """The head; in a REPEATABLE READ transaction it belongs to feed_snapshot."""
    with translated():
        row = await one_row(connection, "select generation, sysid, tli, seq, chain, base, horizon from feed_position")
    return FeedPosition(**dict(row))


async def unacked(connection: Queries, generation: int, seq: int) -> list[Lease] | None:
    """Leases that may stand and have not acknowledged that position. To be asked after the commit, outside of any
    transaction.

    None: the ledger was promoted or restored, and somebody holds its head, so that no generation can begin.
    """
    with translated():
        try:
            rows = await connection.fetch(
                f"select {_LEASE} from feed_unacked($1, $2) order by edge",  # noqa: S608 - our own constant
                generation,
                seq,
            )
        except asyncpg.LockNotAvailableError:
            return None
    return [Lease(**dict(row)) for row in rows]


async def leases(connection: Connection) -> list[Lease]:
    """Every edge that was added, and every row that stands for leases of others, by name."""
    with translated():
        rows = await connection.fetch(f"select {_LEASE} from edge_lease order by edge")  # noqa: S608 - our own constant
    return [Lease(**dict(row)) for row in rows]


async def feed_horizon(connection: Queries) -> timedelta:
    """How long any edge may still say good on its own; what a waiter waits for at most."""
    with translated():
        return await connection.fetchval("select feed_horizon()")  # type: ignore[no-any-return]


async def set_horizon(connection: Connection, seconds: float) -> None:
    """The most that an edge may ask for from now on."""
    with translated():
        await connection.execute("select feed_set_horizon($1)", timedelta(seconds=seconds))


async def begin_generation(connection: Connection, above: int = 0) -> int:
    """The feed's history from here on is another one than any edge may have heard, and above `above`; its number."""
    with translated():
        return await connection.fetchval("select feed_begin_generation($1)", above)  # type: ignore[no-any-return]


async def trim_feed(connection: Connection, keep: int = 100_000) -> int:
    """Drop old events, never past a lease younger than an hour; how many went."""
    with translated():
        return await connection.fetchval("select feed_trim($1)", keep)  # type: ignore[no-any-return]


async def payloads_after(connection: Connection, seq: int) -> list[bytes]:
    """Return the payloads of every event beyond that number, in order."""
    with translated():
        rows = await connection.fetch("select payload from revocation_events where seq > $1 order by seq", seq)
    return [row["payload"] for row in rows]


async def read_cursor(connection: Connection, name: str) -> Cursor | None:
    """How far that warmer was."""
    with translated():
        row = await connection.fetchrow("select generation, seq from warmer_cursor where name = $1", name)
    return Cursor(*row.values()) if row else None


async def write_cursor(connection: Connection, name: str, cursor: Cursor) -> None:
    """Remember it. Written after the work: a crash repeats the work."""
    with translated():
        await connection.execute(
            """insert into warmer_cursor (name, generation, seq) values ($1, $2, $3)
               on conflict (name) do update set generation = excluded.generation, seq = excluded.seq, at = now()""",
            name,
            cursor.generation,
            cursor.seq,
        )
