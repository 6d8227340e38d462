"""Redis, written: a record replaces another only when it is newer in (generation, seq, producedAt).

The comparison runs inside Redis, so of two writers with one certificate the later knowledge wins, however slow its
writer is. Every record goes at its own nextUpdate. Losing all of it costs speed alone.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ResponseError

from _fastocsp.ocsp.record import MAX_RECORD, next_update_of
from cachewarm.errors import Transient
from responder.domain.key import Key
from responder.domain.redis_layout import ANNOUNCE_LENGTH, ANNOUNCE_STREAM, WALK_NOTE, WARM_MARK, WARMING, record_name
from responder.errors import link_failures_as
from responder.sources.redis_reader import MAX_KEYS, REDIS_FAILURES, cut_values

#: Byte 1 of a record is its version, bytes 3-15 generation u24, seq u48 and producedAt u32 (Lua counts from 1). What
#: is of another version has its fields elsewhere: it is replaced, and never compared.
_PUBLISH = """
local function comparable(a, b) return #b >= 15 and string.byte(a, 1) == string.byte(b, 1) end
local function before(a, b)
  local ga, sa, pa = struct.unpack('>I3I6I4', string.sub(a, 3, 15))
  local gb, sb, pb = struct.unpack('>I3I6I4', string.sub(b, 3, 15))
  if ga ~= gb then return ga < gb end
  if sa ~= sb then return sa < sb end
  return pa < pb
end
local put = 0
for i, name in ipairs(KEYS) do
  local fresh, ends = ARGV[2 * i - 1], ARGV[2 * i]
  if redis.call('SET', name, fresh, 'EXAT', ends, 'NX') then
    put = put + 1
  else
    local kept = redis.pcall('GETRANGE', name, 0, 14)
    if type(kept) ~= 'string' or not comparable(fresh, kept) or not before(fresh, kept) then
      redis.call('SET', name, fresh, 'EXAT', ends)
      put = put + 1
    end
  end
end
return put
"""
#: What was read and found to be no record goes, unless it has been replaced since. As much is compared as was read.
_DISCARD = f"""
local gone = 0
for i, name in ipairs(KEYS) do
  local kept = redis.pcall('GETRANGE', name, 0, {MAX_RECORD})
  if type(kept) == 'string' and kept == ARGV[i] then gone = gone + redis.call('DEL', name) end
end
return gone
"""
KEYS_A_CALL = 500


_serializer = HiredisRespSerializer()


class _PackedByHiredis:
    """Packs commands with hiredis, as redis-py's synchronous client does: its own way costs ten times as much."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return the command's bytes; redis-py calls this."""
        packed: list[bytes] = _serializer.pack(*args)
        return packed


class _TCP(_PackedByHiredis, Connection): ...


class _TLS(_PackedByHiredis, SSLConnection): ...


class _Socket(_PackedByHiredis, UnixDomainSocketConnection): ...


_PACKED = {Connection: _TCP, SSLConnection: _TLS, UnixDomainSocketConnection: _Socket}


def connect(url: str) -> "Redis":
    """Return a writer's client: patient, since no request waits for it."""
    client = Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2, retry=Retry(ExponentialBackoff(cap=1), 3))
    pool = client.connection_pool
    pool.connection_class = _PACKED[pool.connection_class]
    return client


def _failures_as(what: str) -> AbstractContextManager[None]:
    """Raise Transient("what: reason") instead of what a lost link raises."""
    return link_failures_as(Transient, what, REDIS_FAILURES)


class Publisher:
    """Writes records and announces them."""

    def __init__(self, client: "Redis") -> None:
        self._client = client
        self._script = client.register_script(_PUBLISH)
        self._discard = client.register_script(_DISCARD)

    async def publish(self, records: Sequence[tuple[Key, bytes]]) -> int:
        """Put what is newer than what is there; return how many were. Transient when Redis does not answer."""
        return await self.publish_under([(record_name(key), record) for key, record in records])

    async def publish_under(self, records: Sequence[tuple[bytes, bytes]]) -> int:
        """Do the same by the names of the records."""
        if not records:
            return 0
        pipeline = self._client.pipeline(transaction=False)
        with _failures_as("Redis does not take the records"):
            for at in range(0, len(records), KEYS_A_CALL):
                part = records[at : at + KEYS_A_CALL]
                arguments = [each for _, record in part for each in (record, next_update_of(record))]
                await self._script(keys=[name for name, _ in part], args=arguments, client=pipeline)
            put: list[int] = await pipeline.execute()
        return sum(put)

    async def discard(self, rubbish: Sequence[tuple[Key, bytes]]) -> int:
        """Drop bytes that are no record: where they claim a high seq nothing could replace them. How many went."""
        if not rubbish:
            return 0
        with _failures_as("Redis does not drop what is broken"):
            names, values = [record_name(key) for key, _ in rubbish], [octets for _, octets in rubbish]
            return int(await self._discard(keys=names, args=values))

    async def announce(self, keys: Sequence[Key]) -> None:
        """Tell the edges that these records were replaced."""
        with _failures_as("Redis does not take the announcement"):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.xadd(ANNOUNCE_STREAM, {b"k": record_name(key)}, maxlen=ANNOUNCE_LENGTH, approximate=True)
            await pipeline.execute()

    async def kept(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Return the values in Redis, cut behind MAX_RECORD bytes; None for a value that is no string."""
        return await self.kept_under([record_name(key) for key in keys])

    async def kept_under(self, names: list[bytes]) -> list[bytes | None]:
        """Return the same, by the names of the records."""
        with _failures_as("Redis does not answer"):
            parts = [await cut_values(self._client, names[at : at + MAX_KEYS]) for at in range(0, len(names), MAX_KEYS)]
        return [value for part in parts for value in part]

    async def show_walk(self, said: str, keep_s: int) -> None:
        """Leave word of a walk under way for `fastocsp status`; it goes by itself."""
        with _failures_as("Redis does not answer"):
            await self._client.set(WALK_NOTE, said, ex=keep_s)

    async def is_warm(self) -> bool:
        """A whole walk was published since Redis was last emptied."""
        with _failures_as("Redis does not answer"):
            return bool(await self._client.exists(WARM_MARK))

    async def begin_warming(self, name: str) -> None:
        """Note that this warmer's whole walk begins; the note goes where the records go."""
        with _failures_as("Redis does not answer"):
            await self._client.hset(WARMING, name, b"1")

    async def mark_warm(self, name: str) -> bool:
        """Note that a whole walk was published; False when Redis was emptied since it began."""
        with _failures_as("Redis does not answer"):
            if not await self._client.hdel(WARMING, name):
                return False
            await self._client.set(WARM_MARK, b"1")
        return True

    async def losses(self) -> tuple[str, int] | None:
        """Return the id of Redis's run and how many keys it has evicted; None where the login may not run INFO.

        A run that follows another one may have read an old snapshot. Records that were evicted are missing.
        """
        with _failures_as("Redis does not answer"):
            try:
                said = [await self._client.info(section) for section in ("server", "stats")]
            except ResponseError:
                return None
        return str(said[0].get("run_id", "")), int(said[1].get("evicted_keys", 0))
