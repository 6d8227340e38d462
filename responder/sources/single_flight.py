"""The guard in front of the tiers: one question at a time for one key, and a bound on how many are under way."""

import asyncio

from responder.domain.key import Key
from responder.errors import SourceError, TryLater
from responder.sources.base import Found, Source


class GuardedSource:
    """Single flight and a lane of limited width; a full lane is TryLater at once, never a queue."""

    def __init__(self, behind: Source, width: int) -> None:
        self._behind, self._width = behind, width
        self._flights: dict[Key, asyncio.Task[Found | None]] = {}

    @property
    def under_way(self) -> int:
        """Questions not yet answered."""
        return len(self._flights)

    async def fetch(self, key: Key) -> Found | None:
        """The record; askers of one key share one question, and a vanished asker does not end it for the others."""
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= self._width:
                raise TryLater
            flight = asyncio.get_running_loop().create_task(self._fly(key))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flight)

    async def _fly(self, key: Key) -> Found | None:
        try:
            return await self._behind.fetch(key)
        except SourceError as error:
            raise TryLater from error

    def _landed(self, key: Key, flight: asyncio.Task[Found | None]) -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()
