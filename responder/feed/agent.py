"""The feed agent: asks Postgres, keeps the journal, shows the workers. One a process that answers for statuses.

Order within one answer: journal (fsynced), image, machine, and only then the lease; the next question acknowledges.
kill -9 after any line leaves a set that is at least what was acknowledged.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import uuid4

import asyncpg
import structlog

from _fastocsp.revoked import parse_items
from _fastocsp.values import Groups, Item
from responder.clock import Clock
from responder.feed.journal import Journal, groups_of
from responder.feed.machine import Apply, FeedMachine, Position, Renew, State, TakeSnapshot
from responder.feed.poll import Connection, Who, poll, snapshot

log = structlog.get_logger("feed")
NUDGE_CHANNEL = "fastocsp_feed"
Connect = Callable[[], Awaitable[Connection]]


class Shown(Protocol):
    """Where the set and the lease are shown: shared memory for an edge, plain memory for the signer and the warmer."""

    def replace(self, groups: Groups) -> None: ...  # noqa: D102
    def apply(self, items: list[Item]) -> None: ...  # noqa: D102
    def renew(self, lease: Renew) -> None: ...  # noqa: D102
    def show(self, position: Position, head: int, state: State) -> None: ...  # noqa: D102


class FeedAgent:
    """Drives one machine until cancelled."""

    def __init__(
        self, connect: Connect, who: Who, shown: Shown, clock: Clock, interval_s: float, journal: Journal | None = None
    ) -> None:
        self._connect, self._who, self._shown = connect, who, shown
        self._clock, self._interval, self._journal = clock, interval_s, journal
        self._nudged = asyncio.Event()
        self.machine = FeedMachine(who.horizon_s)
        self.orphans = 0
        self.on_change: Callable[[list[Item]], None] | None = None

    @classmethod
    def edge_name(cls, name: str, horizon_s: float) -> Who:
        """A new life under that name."""
        return Who(name, uuid4(), horizon_s)

    def boot(self) -> None:
        """Show what the journal kept: `revoked` is answered before the first word from Postgres."""
        kept = self._journal.open() if self._journal else None
        if kept is None:
            self._shown.replace({})
            return
        self._shown.replace(groups_of(kept))
        self.machine = FeedMachine(self._who.horizon_s, kept.position)
        log.info("journal loaded", seq=kept.position.seq, generation=kept.position.generation)

    async def run(self) -> None:
        """Poll until cancelled; a lost connection is made again with a pause."""
        while True:
            try:
                connection = await self._connect()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("ledger unreachable", error=str(error) or type(error).__name__)
                await self._pause()
                continue
            try:
                await self._follow(connection)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("feed poll failed", error=str(error) or type(error).__name__)
                await self._pause()
            finally:
                connection.terminate()

    async def _follow(self, connection: Connection) -> None:
        with contextlib.suppress(asyncpg.PostgresError):
            await connection.add_listener(NUDGE_CHANNEL, self._on_nudge)
        while True:
            if self.machine.position is None:
                await self._take_snapshot(connection, keep_vanished=False)
            question = self.machine.question(self._clock())
            answer = await poll(connection, self._who, question)
            more = False
            for effect in self.machine.answered(question, answer):
                more = await self._carry_out(effect, connection) or more
            self._report()
            if not more:
                await self._pause()

    async def _carry_out(self, effect: Apply | Renew | TakeSnapshot, connection: Connection) -> bool:
        """True when another question should follow at once: rows were applied, and an early ack ends a wait."""
        match effect:
            case Apply(rows, position):
                self._apply(rows, position)
                return bool(rows)
            case Renew():
                self._shown.renew(effect)
                self.machine.renewed(effect)
                return False
            case TakeSnapshot(reason, keep_vanished):
                log.warning("new snapshot", reason=reason)
                await self._take_snapshot(connection, keep_vanished=keep_vanished)
                return True

    def _apply(self, rows: tuple[Any, ...], position: Position) -> None:
        if rows and self._journal:
            self._journal.append(rows, position.generation)
        items = [item for row in rows for item in parse_items(row.payload)]
        self._shown.apply(items)
        self.machine.applied(position)
        if items and self.on_change is not None:
            self.on_change(items)

    async def _take_snapshot(self, connection: Connection, *, keep_vanished: bool) -> None:
        position, groups = await snapshot(connection)
        if keep_vanished:
            groups = self._with_orphans(groups)
        if self._journal:
            self._journal.replace(position, groups)
        self._shown.replace(groups)
        self.machine.snapshot_taken(position)
        log.info("snapshot", seq=position.seq, generation=position.generation, listed=_count(groups))

    def _with_orphans(self, groups: Groups) -> Groups:
        """Old and new set together: what vanished without a release stays revoked, with an alarm."""
        current = getattr(self._shown, "image", None)
        before = current.compact() if current is not None else {}
        vanished = {key: _missing(rows, groups.get(key, b""), key[1]) for key, rows in before.items()}
        self.orphans = sum(map(len, vanished.values()))
        if self.orphans:
            log.error("revocations vanished from the ledger and are kept", orphans=self.orphans)
        return {
            key: b"".join(sorted([*_rows(groups.get(key, b""), key[1]), *vanished.get(key, [])]))
            for key in {*groups, *before}
            if key in groups or vanished.get(key)
        }

    def _report(self) -> None:
        if self.machine.position is not None:
            self._shown.show(self.machine.position, self.machine.head, self.machine.state(self._clock()))

    def _on_nudge(self, *_: object) -> None:
        self._nudged.set()

    async def _pause(self) -> None:
        self._report()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nudged.wait(), self._interval)
        self._nudged.clear()


def _rows(rows: bytes, serial_len: int) -> list[bytes]:
    stride = serial_len + 5
    return [rows[at : at + stride] for at in range(0, len(rows), stride)]


def _missing(before: bytes, after: bytes, serial_len: int) -> list[bytes]:
    kept = {row[:serial_len] for row in _rows(after, serial_len)}
    return [row for row in _rows(before, serial_len) if row[:serial_len] not in kept]


def _count(groups: Groups) -> int:
    return sum(len(rows) // (serial_len + 5) for (_, serial_len), rows in groups.items())
