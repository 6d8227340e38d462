"""The Redis tier: a record is believed only after its layout, its key, its window and its signature were checked."""

from collections.abc import Callable

from _fastocsp.counters import Counters
from _fastocsp.errors import MalformedRecord
from _fastocsp.record import unpack_record
from responder.cache.layout import record_name
from responder.cache.reader import BatchReader
from responder.catalog import Catalog
from responder.errors import SourceError
from responder.sources.base import Found, Key, Source
from responder.telemetry import INDEX


class CachedSource:
    """Redis, and behind it the next tier."""

    def __init__(
        self,
        reader: BatchReader,
        behind: Source,
        catalog: Callable[[], Catalog],
        now: Callable[[], int],
        counters: Counters,
    ) -> None:
        self._reader, self._behind = reader, behind
        self._catalog, self._now, self._counters = catalog, now, counters

    async def fetch(self, key: Key) -> Found | None:
        """From Redis when there is a right one, else from behind."""
        try:
            record = await self._reader.get(record_name(key))
        except SourceError:
            self._count("redis_failed")
            return await self._behind.fetch(key)
        if record is None:
            self._count("redis_absent")
        elif self.is_right(key, record):
            self._count("redis_found")
            return Found(record, storable=True)
        else:
            self._count("redis_refused")
        return await self._behind.fetch(key)

    async def fetch_signed(self, key: Key) -> Found | None:
        """Past Redis: for a record that the gate contradicted."""
        return await self._behind.fetch(key)

    def is_right(self, key: Key, octets: bytes) -> bool:
        """Layout, key binding, window and signature hold."""
        try:
            record = unpack_record(octets)
        except MalformedRecord:
            return False
        now = self._now()
        if record.hash_algorithm != key.hash_algorithm or not record.this_update <= now < record.next_update:
            return False
        return self._catalog().verify(key, octets, record)

    def _count(self, name: str) -> None:
        self._counters.add(INDEX[name])
