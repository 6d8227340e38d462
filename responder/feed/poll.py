"""The feed's questions to Postgres: one poll, one snapshot. Everything it returns is the machine's to judge."""

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from _fastocsp.revoked import merge_groups, parse_items
from _fastocsp.values import Groups
from responder.feed.machine import Answer, Position, Question, Row

#: A poll that takes longer is no use: its connection is thrown away.
POLL_TIMEOUT_S = 1.0
ROWS_A_POLL = 500
_SNAPSHOT_BATCH = 20_000

Connection = asyncpg.Connection


class Who(NamedTuple):
    """Whose lease a poll renews; `edge` None reads without a lease."""

    edge: str | None
    boot: UUID
    horizon_s: float


async def open_feed(url: str) -> Connection:
    """A connection of the feed's own, which may be thrown away without harm to anything else."""
    connection: Connection = await asyncpg.connect(
        url, timeout=5, command_timeout=10, server_settings={"application_name": "fastocsp feed", "TimeZone": "UTC"}
    )
    return connection


async def poll(connection: Connection, who: Who, question: Question) -> Answer:
    """Ask what follows the question's position; renews the lease row and acknowledges the position."""
    position = question.position
    records = await connection.fetch(
        "select * from feed_poll($1, $2, $3, $4, $5, $6, $7)",
        who.edge,
        who.boot,
        timedelta(seconds=who.horizon_s),
        position.generation,
        position.seq,
        position.chain,
        ROWS_A_POLL,
        timeout=POLL_TIMEOUT_S,
    )
    first = records[0]
    rows = tuple(Row(r["seq"], r["chain"], r["payload"]) for r in records if r["seq"] is not None)
    return Answer(first["gen"], first["head"], first["status"], rows)


async def snapshot(connection: Connection) -> tuple[Position, Groups]:
    """The whole revoked set and the position it stands for, in one REPEATABLE READ transaction."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await connection.fetchrow("select generation, seq, chain from feed_position")
        if head is None:
            raise ValueError("feed_position is empty: the ledger is not migrated")
        groups: Groups = {}
        async for batch in _batches(connection):
            groups = merge_groups(groups, parse_items(batch))
    return Position(head["generation"], head["seq"], head["chain"]), groups


async def _batches(connection: Connection) -> Any:
    cursor = await connection.cursor("select item from feed_snapshot")
    while records := await cursor.fetch(_SNAPSHOT_BATCH):
        yield b"".join(record["item"] for record in records)
