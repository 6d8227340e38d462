"""Redis, read-only: one call for all that is asked within one turn of the loop, and a breaker in front.

The server's death must cost a request no more than REDIS_TIMEOUT, and the next ones nothing: after a failure the
breaker stays open for a second. A slow server gets larger batches, not more of them. Nothing read here is believed;
`responder/sources/redis.py` checks every record.
"""

import asyncio
import itertools
import time
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from _fastocsp.ocsp.record import MAX_RECORD
from responder.domain.redis_layout import ANNOUNCE_STREAM, MAX_NAME
from responder.errors import LINK_FAILURES, SourceError, reason
from responder.log_limits import OutageLog

log = structlog.get_logger("edge")
#: What a lost link to any store raises, Redis among them.
REDIS_FAILURES = (*LINK_FAILURES, RedisError)
BREAKER_S = 1.0
#: As MGET, which would bring a value of 512 MiB as well as one of a record's size. It costs the edge the same; a
#: pipeline of GETRANGE would cost 25 us per name.
CUT_VALUES = (
    b"""local values = {}
for at, name in ipairs(KEYS) do
  local value = redis.pcall('GETRANGE', name, 0, %d)
  values[at] = type(value) == 'string' and #value > 0 and value
end
return values"""
    % MAX_RECORD
)
#: The announcements after ARGV[1], '$' for the end: the id of the last one, then the names, each whole or left out.
_ANNOUNCED = (
    b"""if ARGV[1] == '$' then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  return {last[1] and last[1][1] or '0-0'}
end
local found = {ARGV[1]}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  found[1] = entry[1]
  if entry[2][1] == 'k' and #entry[2][2] <= %d then found[#found + 1] = entry[2][2] end
end
return found"""
    % MAX_NAME
)
ANNOUNCED_AT_ONCE = 500
MAX_KEYS = 512
#: Below the client's connections: a batch that found none would count as the server's failure.
MAX_BATCHES, CONNECTIONS = 8, 16


def connect(url: str, timeout_s: float) -> "Redis":
    """A client that fails fast and never retries: the tier behind it is the retry."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=CONNECTIONS,
        decode_responses=False,
    )


async def cut_values(client: "Redis", names: list[bytes]) -> Any:
    """Return the values, each cut by the server behind MAX_RECORD bytes; None where there is no string."""
    return await client.execute_command("EVAL_RO", CUT_VALUES, len(names), *names)  # type: ignore[no-untyped-call]


def may_not_run(error: ResponseError) -> bool:
    """Return whether the server or its access list does not let this login run the scripts."""
    return isinstance(error, NoPermissionError) or "unknown command" in str(error).lower()


class Announcements:
    """The names of the records that the writer replaced since the first call."""

    def __init__(self) -> None:
        self._after: bytes = b"$"
        self._is_bounded = True

    async def read(self, client: "Redis") -> list[bytes]:
        """Return the next names, at most ANNOUNCED_AT_ONCE and each of at most MAX_NAME bytes."""
        if not self._is_bounded:
            return await self._read_whole(client)
        try:
            self._after, *names = await client.execute_command(  # type: ignore[no-untyped-call]
                "EVAL_RO", _ANNOUNCED, 1, ANNOUNCE_STREAM, self._after, ANNOUNCED_AT_ONCE
            )
        except ResponseError as error:
            if not may_not_run(error) and not may_not_run_within(error):
                raise
            self._is_bounded = False
            advice = "allow the login eval_ro, xrange and xrevrange"
            log.warning("redis announcements not bounded", error=str(error), advice=advice)
            return []
        return list(names)

    async def _read_whole(self, client: "Redis") -> list[bytes]:
        reply: Any = await client.xread({ANNOUNCE_STREAM: self._after}, block=1000, count=ANNOUNCED_AT_ONCE)
        names = []
        for self._after, entry in _entries(reply):
            names.append(entry.get(b"k", b""))
        return names


def may_not_run_within(error: ResponseError) -> bool:
    """Return whether the access list refused a command inside of a script."""
    return "acl failure in script" in str(error).lower() or "permission" in str(error).lower()


class BatchReader:
    """`get` by name; the names of one loop turn share a round trip."""

    def __init__(self, client: "Redis", timeout_s: float) -> None:
        self._client, self._timeout = client, timeout_s
        self._wanted: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._open_until = 0.0
        self._is_bounded = True
        self._outage = OutageLog("redis")
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, name: bytes) -> bytes | None:
        """The value or None; SourceError when Redis did not answer in time."""
        if time.monotonic() < self._open_until:
            raise SourceError("redis: breaker open")
        wanted = self._wanted.get(name)
        if wanted is None:
            if not self._wanted:
                asyncio.get_running_loop().call_soon(self._send)
            wanted = self._wanted[name] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(wanted)

    def _send(self) -> None:
        """All that is wanted, as far as there is room; the rest goes when a batch has come back."""
        while self._wanted and len(self._tasks) < MAX_BATCHES:
            names = list(itertools.islice(self._wanted, MAX_KEYS))
            part = {name: self._wanted.pop(name) for name in names}
            task = asyncio.get_running_loop().create_task(self._ask(part))
            self._tasks.add(task)
            task.add_done_callback(self._came_back)

    def _came_back(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._send()

    async def _ask(self, wanted: dict[bytes, asyncio.Future[bytes | None]]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                values = await self._values(list(wanted))
        except REDIS_FAILURES as error:
            self._give_up(wanted, error)
            return
        self._outage.answered()
        for future, value in zip(wanted.values(), values, strict=True):
            if not future.done():
                future.set_result(value)

    async def _values(self, names: list[bytes]) -> Any:
        """The values, cut behind MAX_RECORD bytes; whole ones from a server that does not let us run the script."""
        if self._is_bounded:
            try:
                return await cut_values(self._client, names)
            except ResponseError as error:
                if not may_not_run(error):
                    raise
                self._is_bounded = False
                log.warning("redis values not bounded", error=str(error), advice="allow the login eval_ro and getrange")
        return await self._client.mget(names)

    def _give_up(self, wanted: dict[bytes, asyncio.Future[bytes | None]], error: Exception) -> None:
        """Those who wait for room have waited as well: nobody waits for a second time-out."""
        self._open_until = time.monotonic() + BREAKER_S
        self._outage.failed(error)
        gathered, self._wanted = self._wanted, {}
        for future in (*wanted.values(), *gathered.values()):
            if not future.done():
                future.set_exception(SourceError(f"redis: {reason(error)}"))
                future.exception()


def _entries(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """(id, fields) of what XREAD returned, which is a list in RESP2 and a dict in RESP3."""
    streams = reply.values() if isinstance(reply, dict) else [entries for _, entries in reply or ()]
    return [entry for entries in streams for entry in _flat(entries)]


def _flat(entries: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """RESP3 wraps the entries of a stream in one more list."""
    return entries[0] if entries and isinstance(entries[0], list) else entries
