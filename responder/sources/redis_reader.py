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
from responder.errors import LINK_FAILURES, SourceError, reason
from responder.log_limits import OutageLog

log = structlog.get_logger("edge")
#: What a lost link to any store raises, Redis among them.
REDIS_FAILURES = (*LINK_FAILURES, RedisError)
BREAKER_S = 1.0
#: As MGET, which would bring a value of 512 MiB as well as one of a record's size. It costs the edge the same; a
#: pipeline of GETRANGE would cost 25 us per name.
_CUT_VALUES = (
    b"""local values = {}
for at, name in ipairs(KEYS) do
  local value = redis.pcall('GETRANGE', name, 0, %d)
  values[at] = type(value) == 'string' and #value > 0 and value
end
return values"""
    % MAX_RECORD
)
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
                return await self._client.execute_command("EVAL_RO", _CUT_VALUES, len(names), *names)  # type: ignore[no-untyped-call]
            except ResponseError as error:
                if not isinstance(error, NoPermissionError) and "unknown command" not in str(error).lower():
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
