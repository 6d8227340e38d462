"""The feed agent: asks Postgres, keeps the journal, shows the workers. One a process that answers for statuses.

Whatever fails (link, ledger, disk) costs the renewal: the connection is thrown away and a new one asks again. The lease
that stands is not touched; when it ends the gate closes by itself, agent or no agent.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import structlog

from _fastocsp.wire.errors import WireError
from _fastocsp.wire.types import REPORTED
from responder.clock import NS, Clock
from responder.errors import LINK_FAILURES
from responder.feed.journal import Journal
from responder.feed.life import Life
from responder.feed.machine import FIRST, FeedMachine, TakeSnapshot, Withdraw
from responder.feed.poll import (
    POLL_TIMEOUT_S,
    ROWS_A_REPORT,
    Connection,
    NameTaken,
    PollRefused,
    Who,
    poll,
    report_orphans,
    snapshot,
)
from responder.feed.replica import Replica, Shown, count_rows
from responder.feed.reports import ListedRow, rows_of
from responder.feed.shared import PageGone
from responder.log_limits import ChangeLog
from responder.retry import Failures, Pauses, run_forever

log = structlog.get_logger("feed")
NUDGE_CHANNEL = "fastocsp_feed"
Connect = Callable[[], Awaitable[Connection]]
#: A lease is far longer than this pause between two attempts to connect.
LONGEST_PAUSE_S, HEALTHY_S = 0.4, 2.0
#: Orphans are reported again after this: another restore may have lost the report too.
REPORT_INTERVAL_S, REPORT_RETRY_S = 30, 1
#: Between two attempts to write a snapshot: each reads the whole revoked set.
UNWRITTEN_PAUSE_S = 2.0
FAILURES = (*LINK_FAILURES, WireError, PollRefused, NameTaken)


class FeedAgent:
    """Drives one machine until cancelled."""

    def __init__(
        self,
        connect: Connect,
        who: Who,
        shown: Shown,
        clock: Clock,
        interval_s: float,
        journal: Journal | None = None,
        count_defect: Callable[[], object] | None = None,
    ) -> None:
        self._connect, self._who, self._shown = connect, who, shown
        self._clock, self._interval, self._count = clock, interval_s, count_defect
        self._nudged = asyncio.Event()
        self._refused: int | None = None
        self._unreported: list[ListedRow] = []
        self._report_at = 0
        self._reports = ChangeLog()
        self.replica = Replica(who.horizon_s, shown, journal)

    @classmethod
    def edge_name(cls, name: str, horizon_s: float, folder: Path) -> Who:
        """Begin a new life under that name; `folder` keeps the ids of its lives."""
        life = Life(folder)
        return Who(name, life.boot, horizon_s, life)

    @property
    def machine(self) -> FeedMachine:
        """State machine of the feed."""
        return self.replica.machine

    def boot(self) -> None:
        """Show what the journal kept."""
        self.replica.boot()
        position = self.machine.position
        if position is not None:
            log.info("journal loaded", seq=position.seq, generation=position.generation)
        self._report()

    async def run(self) -> None:
        """Poll until cancelled; a lost connection is made again after a pause. Raises PageGone."""
        pauses = Pauses(self._interval, max(self._interval, LONGEST_PAUSE_S), healthy_s=HEALTHY_S)
        failures = Failures(
            name="feed", event="ledger unavailable", expected=FAILURES, fatal=(PageGone,), count=self._count
        )
        await run_forever(self._poll_one_connection, pauses, failures)

    async def _poll_one_connection(self) -> None:
        connection: Connection | None = None
        try:
            connection = await self._connect()
            await self._follow(connection)
        finally:
            if connection is not None:
                connection.terminate()
            self._report()

    async def _follow(self, connection: Connection) -> None:
        with contextlib.suppress(asyncpg.PostgresError):
            async with asyncio.timeout(POLL_TIMEOUT_S):
                await connection.add_listener(NUDGE_CHANNEL, self._on_nudge)
        while True:
            due = self.machine.due if self.machine.position is None else None
            if not await (self._take_snapshot(connection, due) if due else self._ask(connection)):
                await self._report_orphans(connection)
                await self._pause()

    async def _ask(self, connection: Connection) -> bool:
        """One question; True when another should follow at once: an early acknowledgement ends somebody's wait."""
        self.replica.require_journal()
        question = self.machine.question(self._clock())
        try:
            answer = await poll(connection, self._who, question)
        except NameTaken:
            if self._who.life:
                self._who = self._who._replace(boot=self._who.life.begin_another())
            raise
        if answer.generation < question.position.generation:
            self._refuse(answer.generation, question.position.generation)
        if self._who.life:
            self._who.life.confirm()
        again = answer.status == FIRST
        for effect in self.machine.answered(question, answer, self._clock()):
            if isinstance(effect, TakeSnapshot):
                self._report()
                return await self._take_snapshot(connection, effect)
            if isinstance(effect, Withdraw):
                log.error("lease withdrawn", reason=effect.reason)
            again = self.replica.carry_out(effect) or again
        self._report()
        return again

    def _refuse(self, generation: int, ours: int) -> None:
        if self._refused != generation:
            self._refused = generation
            log.error("the ledger is older than what was heard: not followed", generation=generation, ours=ours)

    async def _take_snapshot(self, connection: Connection, due: TakeSnapshot) -> bool:
        log.warning("new snapshot", reason=due.reason)
        position, groups, reported = await snapshot(connection)
        try:
            taken = self.replica.adopt(due, position, groups, reported)
        except OSError:  # of the disk
            self._report()
            await asyncio.sleep(UNWRITTEN_PAUSE_S)
            raise
        self._unreported, self._report_at = [], 0
        orphans = count_rows(self.replica.orphans)
        log.info("snapshot", seq=position.seq, generation=position.generation, listed=count_rows(groups), taken=taken)
        if orphans:
            log.error("revocations vanished from the ledger and are kept", orphans=orphans)
        return taken

    async def _report_orphans(self, connection: Connection) -> None:
        """Report what the ledger lacks, one call per poll, the whole again every REPORT_INTERVAL_S. An edge alone does.

        A ledger that refuses costs nothing but the report.
        """
        position, now = self.machine.position, self._clock().mono
        if self._who.edge is None or position is None or self.machine.due is not None or not self.replica.orphans:
            return
        if not self._unreported:
            if now < self._report_at:
                return
            self._unreported = [(*row[:3], row[3] & ~REPORTED) for row in rows_of(self.replica.orphans)]
            self._report_at = now + REPORT_RETRY_S * NS
        try:
            dismissed = await report_orphans(connection, self._who.edge, position, self._unreported[:ROWS_A_REPORT])
        except asyncpg.PostgresError as error:
            self._unreported, self._report_at = [], now + REPORT_RETRY_S * NS
            self._reports.warn("orphans not reported", "report", str(error))
            return
        self._reports.well("report")
        self._unreported = self._unreported[ROWS_A_REPORT:]
        if not self._unreported:
            self._report_at = now + REPORT_INTERVAL_S * NS
        if dismissed:
            log.warning("orphans dismissed", orphans=len(dismissed))
            self.replica.forget(dismissed)

    def _report(self) -> None:
        self._shown.show_journal(is_written=self.replica.journal_fault is None)
        if self.machine.position is not None:
            self._shown.show(self.machine.position, self.machine.head, self.machine.state(self._clock()))

    def _on_nudge(self, *_: object) -> None:
        self._nudged.set()

    async def _pause(self) -> None:
        self._report()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nudged.wait(), self._interval)
        self._nudged.clear()
