"""The last report of each warmer, for `fastocsp status`, and without its name for `/ready` of the edges."""

from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.connect import Connection, translated


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """The state of one warmer.

    `walked_at`: end of its last walk of the whole inventory. `queue`: changes of status that are not published yet.
    `rotation_failures`: issuers without a usable responder. `missing`: records that the last walk had to sign.
    `failing`: names of the loops that fail at this time.
    """

    warmer: str
    walked_at: datetime | None = None
    queue: int = 0
    rotation_failures: int = 0
    missing: int | None = None
    failing: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeardOf:
    """A heartbeat and how many seconds ago it and its walk were, by the ledger's clock."""

    heartbeat: Heartbeat
    age_s: float
    walk_age_s: float | None


async def write_heartbeat(connection: Connection, beat: Heartbeat) -> None:
    """Replace the warmer's row, and remove rows that are a day old."""
    with translated():
        await connection.execute(
            """with old as (delete from warmer_heartbeats where at < now() - interval '1 day' and warmer <> $1)
               insert into warmer_heartbeats (warmer, walked_at, queue, rotation_failures, missing, failing)
                 values ($1, $2, $3, $4, $5, $6)
               on conflict (warmer) do update
                 set at = clock_timestamp(), walked_at = excluded.walked_at, queue = excluded.queue,
                     rotation_failures = excluded.rotation_failures, missing = excluded.missing,
                     failing = excluded.failing""",
            beat.warmer,
            beat.walked_at,
            beat.queue,
            beat.rotation_failures,
            beat.missing,
            list(beat.failing),
        )


async def read_heartbeats(connection: Connection) -> list[HeardOf]:
    """Return those of the last day, the newest first."""
    with translated():
        rows = await connection.fetch(
            """select warmer, walked_at, queue, rotation_failures, missing, failing,
                      date_part('epoch', clock_timestamp() - at) as age_s,
                      date_part('epoch', clock_timestamp() - walked_at) as walk_age_s
                 from warmer_heartbeats where at > now() - interval '1 day' order by at desc"""
        )
    return [
        HeardOf(
            Heartbeat(
                warmer=row["warmer"],
                walked_at=row["walked_at"],
                queue=row["queue"],
                rotation_failures=row["rotation_failures"],
                missing=row["missing"],
                failing=tuple(row["failing"]),
            ),
            row["age_s"],
            row["walk_age_s"],
        )
        for row in rows
    ]
