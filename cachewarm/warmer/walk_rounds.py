"""Rounds of the walk: what is due, everything after a loss, and a slow verifying pass in between."""

import asyncio
import time
from dataclasses import replace

import structlog

from cachewarm.ledger.connect import Connection
from cachewarm.records.publisher import Publisher
from cachewarm.warmer.inventory_walk import Count, Walk
from cachewarm.warmer.store_watch import StoreWatch
from cachewarm.warmer.walk_progress import Meter
from responder.tasks import end_tasks

log = structlog.get_logger("walk")
#: Share of a core that verifying visits may take, over all warmers; Redis's and Postgres's part is in it.
VERIFYING_SHARE = 0.01
#: Seconds of a core that may be saved up for them.
SAVED_S = 0.2
#: A visit's time on a busy machine is no measure: it counts at most so many times what this process itself used.
OTHERS_FACTOR = 3


#: Seconds after which a round ends although more is due, so that new issuers and other warmers are noticed.
ROUND_S = 10.0


class WalkRounds:
    """The rounds of one warmer; a round that fails is continued by the next one."""

    def __init__(self, walk: Walk, publisher: Publisher, interval_s: float, name: str) -> None:
        self._walk, self._publisher, self._interval, self._name = walk, publisher, interval_s, name
        self._store = StoreWatch(publisher, interval_s)
        #: Since when a whole walk is under way, and whether Redis was told; None: none is.
        self._whole_since: float | None = time.monotonic()
        self._is_noted = False
        self._credit, self._credited = SAVED_S, time.monotonic()
        self._walked, self._unlogged = Count(), Count()
        self._logged_at = self._covered_at = float("-inf")

    async def tick(self, connection: Connection, now: int) -> Count:
        """Do one round; Transient when Redis or the ledger is away."""
        loss = await self._store.loss()
        if self._whole_since is None and loss is not None:
            log.info("redis lost records", why=loss)
            self._begin_whole(now)
        if self._whole_since is not None and not self._is_noted:
            await self._publisher.begin_warming(self._name)
            self._is_noted = True
        count = Count()
        if self._walk.segments.next_due() <= now:
            count = await self._visit(connection)
        if self._whole_since is not None:
            if self._walk.segments.next_due() > now:
                await self._end_whole(now)
        else:
            _add(count, await self._verify(connection, now))
        await self._write_coverage(connection)
        self._log(count)
        return count

    def _begin_whole(self, now: int) -> None:
        self._whole_since, self._is_noted = time.monotonic(), False
        self._walked = Count()
        self._walk.segments.wake_all(now)

    async def _end_whole(self, now: int) -> None:
        begun = self._whole_since or time.monotonic()
        if await self._publisher.mark_warm(self._name):
            self._whole_since = None
            self._store.walked(time.monotonic() - begun)
            self._logged_at = float("-inf")
        else:  # Redis was emptied meanwhile
            self._begin_whole(now)

    async def _visit(self, connection: Connection) -> Count:
        meter = Meter(self._whole_since or time.monotonic())
        saying = asyncio.create_task(meter.say(self._publisher))
        before = replace(self._walked)

        def progress(count: Count) -> None:
            meter(_add(replace(before), count))

        try:
            count = await self._walk.visit_due(connection, progress, ROUND_S)
        finally:
            await end_tasks([saying])
        _add(self._walked, count)
        return count

    async def _verify(self, connection: Connection, now: int) -> Count:
        """Visit what was not visited for longest, as long as the share of a core lasts."""
        at = time.monotonic()
        earned = (at - self._credited) * VERIFYING_SHARE / self._walk.share[1]
        self._credit, self._credited = min(SAVED_S, self._credit + earned), at
        whole = Count()
        while self._credit > 0:
            begun, used = time.monotonic(), time.process_time()
            count = await self._walk.visit_oldest(connection, now - self._interval, ROUND_S)
            if count is None:
                break
            _add(whole, count)
            self._credit -= min(time.monotonic() - begun, OTHERS_FACTOR * (time.process_time() - used))
        return whole

    async def _write_coverage(self, connection: Connection) -> None:
        is_time = time.monotonic() >= self._covered_at + self._interval
        await self._walk.write_coverage(connection, whole=is_time)
        if is_time:
            self._covered_at = time.monotonic()

    def _log(self, count: Count) -> None:
        """Log what was signed, the first time at once, then not more than twice per WARM_INTERVAL."""
        _add(self._unlogged, count)
        if self._unlogged.signed and time.monotonic() >= self._logged_at + self._interval / 2:
            done, self._unlogged = self._unlogged, Count()
            self._logged_at = time.monotonic()
            log.info("walked", inventory=done.inventory, covered=done.covered, signed=done.signed)


def _add(count: Count, more: Count) -> Count:
    count.inventory += more.inventory
    count.covered += more.covered
    count.signed += more.signed
    count.total = max(count.total, more.total)
    count.faults |= more.faults
    count.errors |= more.errors
    return count
