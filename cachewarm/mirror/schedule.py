"""When sources are queried: at half of the CRL's life, at the latest CRL_FETCH_INTERVAL after the last time.

Past the half, while nothing new is there, the intervals shrink; after a failure they grow. The times are computed from
what is in the ledger, so several warmers query no more often than one, and a restart queries no sooner.
"""

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import structlog

from cachewarm.config import Settings
from cachewarm.errors import CachewarmError, Fatal, Transient
from cachewarm.ledger import issuers, mirrors
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.entered import changed_issuers, current_place
from cachewarm.mirror.sync import SyncContext, fault_of, limits_of, sync
from responder.feed.place import Place
from responder.tasks import end_tasks

log = structlog.get_logger("mirror")
TICK_S = 1.0
SHORTEST_S, LONGEST_PAUSE_S = 10.0, 600.0
FIRST_PAUSE_S = 5.0
#: Sources that are fetched at the same time.
FETCHES = 16


def due_at(mirror: mirrors.Mirror, interval_s: float) -> float:
    """Return when the source is due, in epoch seconds; 0 for at once."""
    if mirror.tried_at is None:
        return 0.0
    tried = mirror.tried_at.timestamp()
    if mirror.failures:
        return tried + min(FIRST_PAUSE_S * float(1 << min(mirror.failures - 1, 10)), LONGEST_PAUSE_S, interval_s)
    if mirror.crl_number is None or mirror.served_number != mirror.crl_number or mirror.lacks_delta:
        return 0.0
    windows = [(mirror.this_update, mirror.next_update), (mirror.delta_this_update, mirror.delta_next_update)]
    return min(_due(tried, begin, end, interval_s) for begin, end in windows if begin is not None and end is not None)


def _due(tried: float, begin: datetime, end: datetime, interval_s: float) -> float:
    half = (begin.timestamp() + end.timestamp()) / 2
    if tried < half:
        return min(half, tried + interval_s)
    return tried + max(SHORTEST_S, min((end.timestamp() - tried) / 8, interval_s))


class MirrorSchedule:
    """The schedule of one warmer."""

    def __init__(self, settings: Settings) -> None:
        self._interval, self._limits = settings.crl_fetch_interval, limits_of(settings)
        self._jitter = random.uniform(0, 0.1)  # noqa: S311 - spreads load, guards nothing
        self._looked_at: dict[str, str] = {}
        self._failing: dict[str, str] = {}
        self._place: Place | None = None
        self._mirrors: dict[str, tuple[float, mirrors.Mirror]] = {}

    async def run(self, connection: Connection) -> None:
        """Run until cancelled; sources are fetched side by side, and the connection is used by one task at a time."""
        syncing: dict[str, asyncio.Task[None]] = {}
        self._place = None
        threads = ThreadPoolExecutor(FETCHES, thread_name_prefix="crl-fetch")
        context = SyncContext(connection, self._limits, threads)
        try:
            while True:
                for mirror in await self._due(context, set(syncing)):
                    syncing[mirror.issuer_id] = asyncio.create_task(self._sync(context, mirror))
                await asyncio.sleep(TICK_S)
                for issuer_id in [issuer_id for issuer_id, task in syncing.items() if task.done()]:
                    syncing.pop(issuer_id).result()
        finally:
            await end_tasks(syncing.values())
            threads.shutdown(wait=False, cancel_futures=True)

    async def _due(self, context: SyncContext, syncing: set[str]) -> list[mirrors.Mirror]:
        """Return the mirrors that are due and not under way. Only those that changed are read again."""
        async with context.mutex:
            connection = context.connection
            if self._place is None:
                place, ids = await current_place(connection), None
            else:
                changed = await changed_issuers(connection, "mirror", self._place)
                place, ids = changed.place, changed.ids
            if ids is None or ids:
                found = {each.issuer_id: each for each in await mirrors.mirrors(connection, among=ids)}
                for issuer_id in set(self._mirrors if ids is None else ids) - found.keys():
                    self._mirrors.pop(issuer_id, None)
                for mirror in found.values():
                    if not await self._is_damaged(connection, mirror):  # deleted then, and read again
                        due = self._moved(mirror, due_at(mirror, self._interval))
                        self._mirrors[mirror.issuer_id] = due, mirror
            self._place = place
        now = time.time()
        return [each for due, each in self._mirrors.values() if due <= now and each.issuer_id not in syncing]

    async def _is_damaged(self, connection: Connection, mirror: mirrors.Mirror) -> bool:
        """Return whether what is served was damaged, and was deleted so that the next round fetches it again.

        It is looked at once after every change.
        """
        if self._looked_at.get(mirror.issuer_id) == mirror.versions:
            return False
        if await mirrors.drop_damaged(connection, mirror.issuer_id):
            log.warning("mirrored CRL is damaged", issuer_id=mirror.issuer_id, number=mirror.crl_number)
            return True
        self._looked_at[mirror.issuer_id] = mirror.versions
        return False

    def _moved(self, mirror: mirrors.Mirror, due: float) -> float:
        """Return a time a little earlier, differently in each warmer."""
        tried = (mirror.tried_at or datetime.fromtimestamp(0, UTC)).timestamp()
        return due - self._jitter * max(0.0, due - tried)

    async def _sync(self, context: SyncContext, mirror: mirrors.Mirror) -> None:
        """One attempt; a failure of any kind is this issuer's alone, unless the connection is lost."""
        try:
            async with context.mutex:
                issuer = await issuers.get_issuer(context.connection, mirror.issuer_id)
            done = None if issuer is None else await sync(context, issuer)
        except Fatal:
            raise
        except Exception as error:
            if context.connection.is_closed():
                raise Transient(f"Postgres cannot be reached: {error or type(error).__name__}") from error
            self._note_failure(mirror, error)
            return
        if done is not None and self._failing.pop(mirror.issuer_id, None) is not None:
            log.info("CRL source works again", issuer_id=mirror.issuer_id, number=done.crl_number)

    def _note_failure(self, mirror: mirrors.Mirror, error: Exception) -> None:
        """Log a failure when it is another one than the last; every one is in crl_generation_events."""
        kind = fault_of(error) or type(error).__name__
        if self._failing.get(mirror.issuer_id) == kind:
            return
        self._failing[mirror.issuer_id] = kind
        is_foreseen = isinstance(error, CachewarmError)
        log.error("CRL not mirrored", issuer_id=mirror.issuer_id, error=str(error), exc_info=not is_foreseen)
