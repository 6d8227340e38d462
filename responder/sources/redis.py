"""The Redis tier: a record is believed only after its layout, its key, its window and its signature were checked."""

from collections.abc import Callable

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.shared.counters import Counters
from _fastocsp.wire.errors import MalformedRecord
from responder.domain.catalog import Catalog
from responder.domain.key import Key
from responder.domain.redis_layout import record_name
from responder.errors import SourceError
from responder.log_limits import RateLimitedLog
from responder.sources.base import Found, Source
from responder.sources.redis_reader import BatchReader
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
        self._refused = RateLimitedLog()

    async def fetch(self, key: Key) -> Found | None:
        """From Redis when there is a right one, else from behind."""
        record = await self.from_redis(key)
        return Found(record, storable=True) if record is not None else await self._behind.fetch(key)

    async def from_redis(self, key: Key) -> bytes | None:
        """The record that Redis has, if it has a right one."""
        try:
            record = await self._reader.get(record_name(key))
        except SourceError:
            self._count("redis_failed")
            return None
        if record is None:
            self._count("redis_absent")
            return None
        right = self.is_right(key, record)
        self._count("redis_found" if right else "redis_refused")
        if not right:
            self._refused.warn("record in Redis refused", name=record_name(key).hex())
        return record if right else None

    def is_right(self, key: Key, octets: bytes) -> bool:
        """Layout, key binding, window and signature hold."""
        try:
            record = unpack_record(octets)
        except MalformedRecord:
            return False
        now = self._now()
        if record.hash_algorithm != key.hash_algorithm or not record.this_update <= now < record.next_update:
            return False
        return self._catalog().verify(key, record)

    def _count(self, name: str) -> None:
        self._counters.add(INDEX[name])
