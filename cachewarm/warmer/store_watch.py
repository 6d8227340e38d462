"""Notices that records are gone from Redis: emptied, restarted from an old snapshot, or evicting."""

import time

import structlog

from cachewarm.records.publisher import Publisher

log = structlog.get_logger("walk")
#: Seconds between two looks at Redis's counters; the mark of a whole walk is looked for at every tick.
COUNTERS_S = 5.0
#: After evictions a whole walk follows at most once in so many times its own length: where Redis is too small for the
#: records, each walk evicts what the one before it wrote.
EVICTION_FACTOR = 20


class StoreWatch:
    """Last known state of one Redis."""

    def __init__(self, publisher: Publisher, shortest_s: float) -> None:
        self._publisher, self._shortest = publisher, shortest_s
        self._run: str | None = None
        self._evicted = self._repaired = 0
        self._look_at = self._repair_from = 0.0

    async def loss(self) -> str | None:
        """Return why records may be missing, None when there is no reason; Transient when Redis does not answer."""
        if not await self._publisher.is_warm():
            return "emptied"
        if time.monotonic() < self._look_at:
            return None
        self._look_at = time.monotonic() + COUNTERS_S
        seen = await self._publisher.losses()
        if seen is None:
            return None
        run, self._evicted = seen
        before, self._run = self._run, run
        if before is None or before != run:
            self._repaired = self._evicted
            return None if before is None else "restarted"
        if self._evicted > self._repaired and time.monotonic() >= self._repair_from:
            return "evicts records"
        return None

    def walked(self, seconds: float) -> None:
        """Note a whole walk of that length."""
        self._repaired = self._evicted
        self._repair_from = time.monotonic() + max(self._shortest, EVICTION_FACTOR * seconds)
