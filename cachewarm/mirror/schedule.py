"""When sources are asked: at half of the CRL's life, at the latest CRL_FETCH_INTERVAL after the last time.

Past the half, with nothing new there, more and more often; after a failure with a growing pause. What the times are
reckoned from is in the ledger, so several warmers ask no more often than one, and a restart asks no sooner.
"""

import asyncio
import random
import time
from datetime import UTC, datetime

import structlog

from cachewarm.config import Settings
from cachewarm.errors import CachewarmError, Fatal
from cachewarm.ledger import issuers, mirrors
from cachewarm.ledger.connect import Connection
from cachewarm.mirror.sync import bring, limits_of

log = structlog.get_logger("mirror")
TICK_S = 1.0
SHORTEST_S, LONGEST_PAUSE_S = 10.0, 600.0
FIRST_PAUSE_S = 5.0


def due_at(mirror: mirrors.Mirror, interval_s: float) -> float:
    """Epoch seconds; 0 for at once."""
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
    """Of one warmer."""

    def __init__(self, settings: Settings) -> None:
        self._interval, self._limits = settings.crl_fetch_interval, limits_of(settings)
        self._jitter = random.uniform(0, 0.1)  # noqa: S311 - spreads load, guards nothing
        self._looked_at: dict[str, str] = {}

    async def run(self, connection: Connection) -> None:
        """Until cancelled."""
        while True:
            for mirror in await mirrors.mirrors(connection):
                if await self._is_damaged(connection, mirror):
                    continue  # deleted: the next round has it made again
                if time.time() >= self._moved(mirror, due_at(mirror, self._interval)):
                    await self._bring(connection, mirror)
            await asyncio.sleep(TICK_S)

    async def _is_damaged(self, connection: Connection, mirror: mirrors.Mirror) -> bool:
        """Whether somebody damaged what is served; it is looked at once after every change."""
        if self._looked_at.get(mirror.issuer_id) == mirror.versions:
            return False
        if await mirrors.drop_damaged(connection, mirror.issuer_id):
            log.warning("mirrored CRL is damaged", issuer_id=mirror.issuer_id, number=mirror.crl_number)
            return True
        self._looked_at[mirror.issuer_id] = mirror.versions
        return False

    def _moved(self, mirror: mirrors.Mirror, due: float) -> float:
        """A little earlier, differently in each warmer."""
        tried = (mirror.tried_at or datetime.fromtimestamp(0, UTC)).timestamp()
        return due - self._jitter * max(0.0, due - tried)

    async def _bring(self, connection: Connection, mirror: mirrors.Mirror) -> None:
        issuer = await issuers.get_issuer(connection, mirror.issuer_id)
        if issuer is None:
            return
        try:
            await bring(connection, issuer, self._limits)
        except Fatal:
            raise
        except CachewarmError as error:
            log.error("CRL not mirrored", issuer_id=mirror.issuer_id, error=str(error), failures=mirror.failures + 1)
