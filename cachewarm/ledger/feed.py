"""The feed from the write side: read without a lease, wait behind the barrier, remember how far the warmer is.

The layout of an item is feed_item's in 0002; the chain is SHA-256(previous || seq, 8 octets big-endian || payload).
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cachewarm.ledger.connect import Connection, one_row, translated

#: The chain before the first event.
GENESIS = hashlib.sha256(b"").digest()
REVOKE, RELEASE, PURGE = 1, 2, 3
_NO_REASON = 255
_HEAD, _TIMES = struct.Struct(">BhB"), struct.Struct(">qBq")


@dataclass(frozen=True)
class FeedPosition:
    """Where the feed's head is. `horizon` is the most that any edge may ask for."""

    generation: int
    sysid: int
    tli: str
    seq: int
    chain: bytes
    base: int
    horizon: timedelta


@dataclass(frozen=True)
class FeedEvent:
    """One row of the outbox: up to 1,000 items."""

    seq: int
    chain: bytes
    payload: bytes


@dataclass(frozen=True)
class FeedItem:
    """One change. Times are epoch seconds; reason None and 0 mean `none`, as in releases and purges."""

    op: int
    issuer_no: int
    serial_number: bytes
    revoked_at: int
    reason: int | None
    invalidity_date: int


@dataclass(frozen=True)
class FeedAnswer:
    """What a poll said: ok with the next events, trimmed or diverged with none (take a snapshot then)."""

    generation: int
    sysid: int
    tli: str
    head: int
    status: str
    events: tuple[FeedEvent, ...]


@dataclass(frozen=True)
class Lease:
    """An edge's lease; it has expired when `renewals` stood still for `horizon` on the judge's monotonic clock."""

    edge: str
    boot: UUID
    horizon: timedelta
    acked_gen: int
    acked: int
    renewals: int
    at: datetime


@dataclass(frozen=True)
class Cursor:
    """How far a warmer is."""

    generation: int
    seq: int


async def feed_position(connection: Connection) -> FeedPosition:
    """The head; in a REPEATABLE READ transaction it belongs to feed_snapshot."""
    with translated():
        row = await one_row(connection, "select generation, sysid, tli, seq, chain, base, horizon from feed_position")
    return FeedPosition(*row.values())


async def feed_read(connection: Connection, generation: int, seq: int, chain: bytes, limit: int = 500) -> FeedAnswer:
    """Events after `seq`, for a reader without a lease. (0, 0, GENESIS) reads from the beginning."""
    with translated():
        rows = await connection.fetch(
            "select * from feed_poll(null, null, null, $1, $2, $3, $4)", generation, seq, chain, limit
        )
    first = rows[0]
    events = tuple(FeedEvent(row["seq"], row["chain"], row["payload"]) for row in rows if row["seq"] is not None)
    return FeedAnswer(first["gen"], first["sysid"], first["tli"], first["head"], first["status"], events)


def is_next(seq: int, chain: bytes, event: FeedEvent) -> bool:
    """Does the event follow directly on that position?"""
    return (
        event.seq == seq + 1
        and event.chain == hashlib.sha256(chain + struct.pack(">q", event.seq) + event.payload).digest()
    )


def parse_items(payload: bytes) -> Iterator[FeedItem]:
    """The items of a payload, or of one row of feed_snapshot; ValueError when octets are missing."""
    offset = 0
    try:
        while offset < len(payload):
            op, issuer_no, length = _HEAD.unpack_from(payload, offset)
            offset += _HEAD.size
            serial, offset = payload[offset : offset + length], offset + length
            revoked_at, reason, invalidity_date = _TIMES.unpack_from(payload, offset)
            offset += _TIMES.size
            yield FeedItem(op, issuer_no, serial, revoked_at, None if reason == _NO_REASON else reason, invalidity_date)
    except struct.error:
        raise ValueError(f"a feed item is cut short at octet {offset}") from None


async def unacked(connection: Connection, generation: int, seq: int) -> list[Lease]:
    """Leases that have not acknowledged that position. To be asked after the commit, outside of any transaction."""
    with translated():
        rows = await connection.fetch(
            "select edge, boot, horizon, acked_gen, acked, renewals, at from feed_unacked($1, $2) order by edge",
            generation,
            seq,
        )
    return [Lease(*row.values()) for row in rows]


async def leases(connection: Connection) -> list[Lease]:
    """Every lease there is, by edge."""
    with translated():
        rows = await connection.fetch(
            "select edge, boot, horizon, acked_gen, acked, renewals, at from edge_lease order by edge"
        )
    return [Lease(*row.values()) for row in rows]


async def feed_horizon(connection: Connection) -> timedelta:
    """How long any edge may still say good on its own; what a waiter waits for at most."""
    with translated():
        return await connection.fetchval("select feed_horizon()")  # type: ignore[no-any-return]


async def set_horizon(connection: Connection, seconds: float) -> None:
    """The most that an edge may ask for from now on."""
    with translated():
        await connection.execute("select feed_set_horizon($1)", timedelta(seconds=seconds))


async def forget_edge(connection: Connection, edge: str) -> bool:
    """Drop the lease of an edge that is gone for good."""
    with translated():
        return await connection.fetchval("select feed_forget($1)", edge)  # type: ignore[no-any-return]


async def trim_feed(connection: Connection, keep: int = 100_000) -> int:
    """Drop old events, never past a lease younger than an hour; how many went."""
    with translated():
        return await connection.fetchval("select feed_trim($1)", keep)  # type: ignore[no-any-return]


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
