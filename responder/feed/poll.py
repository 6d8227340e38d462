"""The feed's questions to Postgres: one poll, one snapshot. Everything it returns is the machine's to judge."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple, cast
from uuid import UUID

import asyncpg

from _fastocsp.revoked.ledger_wire import SnapshotReader
from _fastocsp.wire.errors import WireError
from _fastocsp.wire.types import Groups
from responder.feed.life import Life
from responder.feed.machine import Poll, PollReply, Position, Row
from responder.feed.reports import ListedRow, entries_of

#: A poll that takes longer is no use: its connection is thrown away.
POLL_TIMEOUT_S = 1.0
ROWS_A_POLL = 500
CONNECT_TIMEOUT_S = 2.0
#: A snapshot of a million rows takes half a second; a link that stops in the middle of one is given up after this.
SNAPSHOT_TIMEOUT_S = 60.0

# The ledger's clock is read after the poll's work: what it says lies between the question and the answer.
# as_of comes beside the arguments: ledgers of before do not read it.
_POLL = """select f.*, floor(extract(epoch from clock_timestamp()) * 1000000)::bigint as wall_us
             from feed_poll($1, $2, $3, $4, $5, $6,
                            (select $7::int from set_config('fastocsp.as_of', $9, true)), $8) f"""
#: The place that every history has; a writer begins the generation of a ledger that moved.
_BEGINNING = "select from feed_poll(null, null, null, 0, 0, null, 0)"

#: What SnapshotReader reads.
_SNAPSHOT = "select issuer_no, serial_number, revoked_at, reason from feed_snapshot"
_REPORTED = """select issuer_no, serial_number, floor(extract(epoch from revoked_at))::bigint as revoked_at, reason
                 from feed_orphans"""
_REPORT = "select issuer_no, serial_number from feed_report_orphans($1, $2, $3, $4, $5, $6, $7)"
#: Rows of one report, as feed_report_orphans takes them.
ROWS_A_REPORT = 500

Connection = asyncpg.Connection


class PollRefused(Exception):
    """The ledger gives this login no lease under this name."""


class NameTaken(Exception):
    """Somebody else polled under this name, with this login: a second host, or a thief of the login."""


class Who(NamedTuple):
    """Whose lease a poll renews; `edge` None reads without a lease. `life` knows the lives before this one."""

    edge: str | None
    boot: UUID
    horizon_s: float
    life: Life | None = None


async def open_feed(url: str) -> Connection:
    """A connection of the feed's own, which may be thrown away without harm to anything else."""
    connection: Connection = await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=10,
        # a poll that waits for a lock longer than its asker would be left behind in the queue
        server_settings={"application_name": "fastocsp feed", "TimeZone": "UTC", "lock_timeout": "900ms"},
    )
    return connection


async def poll(connection: Connection, who: Who, question: Poll) -> PollReply:
    """Ask what follows the question's position; renews the lease row and acknowledges the position.

    Raises PollRefused when the edge's name belongs to another login, NameTaken when this life was taken over from.
    """
    position = question.position
    arguments = (
        who.edge,
        who.boot,
        timedelta(seconds=who.horizon_s),
        position.generation,
        position.seq,
        position.chain,
        ROWS_A_POLL,
        who.life.priors if who.life else [],
        "" if question.as_of is None else str(question.as_of),
    )
    try:
        records = await connection.fetch(_POLL, *arguments, timeout=POLL_TIMEOUT_S)
    except asyncpg.UniqueViolationError as error:
        raise NameTaken(str(error)) from error
    first = records[0]
    if first["status"] == "refused":
        raise PollRefused(
            f"this login does not speak for edge {who.edge}: `fastocsp edge add {who.edge}` makes the one that does"
        )
    rows = tuple(Row(r["seq"], r["chain"], r["payload"]) for r in records if r["seq"] is not None)
    return PollReply(first["gen"], first["head"], first["status"], rows, first["wall_us"] * 1000)


class SnapshotRead(NamedTuple):
    """The whole revoked set, the blocking entries of reported orphans, and the position that they are of."""

    position: Position
    groups: Groups
    reported: Groups


async def snapshot(connection: Connection) -> SnapshotRead:
    """Read the whole revoked set with its fences, and what is reported: one REPEATABLE READ transaction.

    A ledger that was promoted or restored is not read before a writer has begun its generation: its place would look
    like one of before, and pass for a witness that nothing was lost.
    """
    await connection.execute(_BEGINNING, timeout=POLL_TIMEOUT_S)
    reader = SnapshotReader()

    async def read(piece: bytes | bytearray) -> None:
        try:
            reader.feed(piece)
        except WireError:
            connection.terminate()  # or the COPY would first be waited for
            raise

    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await connection.fetchrow("select generation, seq, chain from feed_position", timeout=POLL_TIMEOUT_S)
        if head is None:
            raise ValueError("feed_position is empty: the ledger is not migrated")
        await connection.copy_from_query(_SNAPSHOT, output=read, format="binary", timeout=SNAPSHOT_TIMEOUT_S)
        rows = await connection.fetch(_REPORTED, timeout=SNAPSHOT_TIMEOUT_S)
    position = Position(head["generation"], head["seq"], head["chain"])
    return SnapshotRead(position, reader.groups(), entries_of(cast("ListedRow", tuple(row)) for row in rows))


async def report_orphans(
    connection: Connection, edge: str, position: Position, rows: Sequence[ListedRow]
) -> list[tuple[int, bytes]]:
    """Report orphans, at most ROWS_A_REPORT; return those that the ledger says are none."""
    columns = zip(*rows, strict=True)
    answer = await connection.fetch(
        _REPORT, edge, position.generation, position.seq, *map(list, columns), timeout=POLL_TIMEOUT_S
    )
    return [(row["issuer_no"], row["serial_number"]) for row in answer]
