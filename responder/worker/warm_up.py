"""Fill a cold host's table from Redis: one process per host, beside the workers, that ends when it has read all.

It is never in front of a request: it has the lowest priority, takes WARM_UP_CORE at most, and takes the writers' turn
for one record at a time. It scans Redis three times, which is cheap: for what was used most, as the usage file of the
life before tells, for what was used at all, and for the rest. Its memory is a page of names and records. Records
without a tag in that file are verified, as everywhere. It ends early when records of the table would have to make room.
"""

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.table.survey import absent, by_uses, take_tagged
from _fastocsp.table.table import Table
from _fastocsp.wire.errors import MalformedRecord
from responder.config import EdgeSettings
from responder.domain.catalog import Catalog
from responder.domain.key import Key
from responder.domain.redis_layout import RECORDS, parse_record_name
from responder.edge.usage import USAGE_NAME, Usage, load_usage
from responder.feed.catalog import kept_catalog
from responder.parent import die_with_parent
from responder.process import set_up_process
from responder.sources.redis_reader import CUT_VALUES, MAX_KEYS, REDIS_FAILURES, may_not_run
from responder.worker.confinement import confine_worker

log = structlog.get_logger("warm-up")
#: Exit status of a run that should be tried again.
ENDED_EARLY = 75
TIMEOUT_S, SCANNED_AT_ONCE = 5.0, 2000
_VERIFIED_AT_ONCE = 64
_PREFIX = 2  # bytes of a name before what the sketch counts
_TRIES, _PAUSE_S = 20, 0.002  # while another process writes into the table


@dataclass
class WarmUpCount:
    """Records read from Redis, of which some were tagged, some verified, and some refused."""

    read: int = 0
    tagged: int = 0
    verified: int = 0
    refused: int = 0


class Throttle:
    """Rests as long as is needed to stay below a share of a core."""

    def __init__(
        self,
        share: float,
        cpu: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._share, self._cpu, self._clock, self._rest = share, cpu, clock, rest
        self._spent, self._at = cpu(), clock()

    def pause(self) -> None:
        """Rest for what was spent since the last pause."""
        spent = self._cpu() - self._spent
        owed = spent / self._share - (self._clock() - self._at)
        if owed > 0:
            self._rest(owed)
        self._spent, self._at = self._cpu(), self._clock()


def often_used(sketch: bytes | bytearray) -> int:
    """Return from how many uses on a record is among the half that was used most, at least 2."""
    counts = Counter(sketch)
    used = len(sketch) - counts[0]
    above = 0
    for uses in range(max(counts), 1, -1):
        above += counts[uses]
        if 2 * above > used:
            return uses + 1 if above > counts[uses] else uses
    return 2


class WarmUp:
    """One filling of the table; `client` is Redis's, `usage` None where no life before has left any."""

    def __init__(
        self, client: "Redis", table: Table, catalog: Catalog, usage: Usage | None, throttle: Throttle
    ) -> None:
        self._client, self._table, self._catalog, self._usage = client, table, catalog, usage
        self._throttle = throttle
        self._is_bounded = True
        self._evicted = table.evicted
        self.count = WarmUpCount()

    def run(self) -> WarmUpCount:
        """Fill until everything was read or the table is full; what a lost link to Redis raises comes out."""
        usage = self._usage
        if usage is not None:
            often = often_used(usage.sketch)
            for least in (often, 1):
                for names in self._pages():
                    most, some, _ = by_uses(usage.key, usage.sketch, names, _PREFIX, least)
                    self._fill(most if least == often else most + some)
                    if self.is_full:
                        return self.count
                log.info("used records read", least=least, **vars(self.count))
        for names in self._pages():
            self._fill(names)
            if self.is_full:
                break
        return self.count

    @property
    def is_full(self) -> bool:
        """Records of the table have begun to make room for others."""
        return self._table.evicted > self._evicted

    def _pages(self) -> Iterator[list[bytes]]:
        """Names of records, some of them twice while Redis is growing."""
        cursor: Any = 0
        while True:
            reply: Any = self._client.scan(cursor, match=RECORDS, count=SCANNED_AT_ONCE)
            cursor, names = reply
            self._throttle.pause()
            yield names
            if int(cursor) == 0:
                return

    def _fill(self, names: list[bytes]) -> None:
        wanted = absent(self._table, names, _PREFIX)
        for at in range(0, len(wanted), MAX_KEYS):
            if not self.is_full:
                self._take(wanted[at : at + MAX_KEYS])

    def _take(self, names: list[bytes]) -> None:
        values, usage = self._values(names), self._usage
        self.count.read += len(values) - values.count(None)
        left = [at for at, octets in enumerate(values) if octets is not None]
        if usage is not None:
            taken, left = take_tagged(self._table, usage.key, usage.tags, names, values, _PREFIX)
            self.count.tagged += taken
        for at in left:
            octets = values[at]
            assert octets is not None
            self._verify(names[at], octets)
            if self.count.verified % _VERIFIED_AT_ONCE == 0:
                self._throttle.pause()
        self._throttle.pause()

    def _verify(self, name: bytes, octets: bytes) -> None:
        key = self._key_of(name)
        if key is not None and self._is_right(key, octets):
            self.count.verified += 1
            self._put(key, octets)
        else:
            self.count.refused += 1

    def _key_of(self, name: bytes) -> Key | None:
        with contextlib.suppress(ValueError):
            key = parse_record_name(name)
            return key if key.issuer_no in self._catalog.by_no else None
        return None

    def _is_right(self, key: Key, octets: bytes) -> bool:
        try:
            record = unpack_record(octets)
        except MalformedRecord:
            return False
        if record.hash_algorithm != key.hash_algorithm or not record.this_update <= time.time() < record.next_update:
            return False
        return self._catalog.verify(key, record)

    def _put(self, key: Key, octets: bytes) -> None:
        for _ in range(_TRIES):
            if self._table.put(*key, octets) or self._table.peek(*key) is not None:
                return
            time.sleep(_PAUSE_S)

    def _values(self, names: list[bytes]) -> "list[bytes | None]":
        """As in responder.sources.redis_reader, for a client that waits."""
        if self._is_bounded:
            try:
                found: Any = self._client.execute_command("EVAL_RO", CUT_VALUES, len(names), *names)  # type: ignore[no-untyped-call]
                return list(found)
            except ResponseError as error:
                if not may_not_run(error):
                    raise
                self._is_bounded = False
        whole: Any = self._client.mget(names)
        return list(whole)


def warm_up(settings: EdgeSettings, table: Table) -> WarmUpCount | None:
    """Fill the table once; None when Redis could not be read to the end."""
    folder = settings.data_dir / "edge"
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    client = Redis.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )
    begun = time.monotonic()
    work = WarmUp(client, table, kept_catalog(folder), load_usage(folder / USAGE_NAME), Throttle(settings.warm_up_core))
    try:
        count = work.run()
    except REDIS_FAILURES as error:
        log.warning("warm-up ended early", error=str(error), **vars(work.count))
        return None
    finally:
        client.close()
    log.info("warmed up", seconds=round(time.monotonic() - begun, 1), is_full=work.is_full, **vars(count))
    return count


def main() -> None:
    """`python -m responder.worker.warm_up TABLE_FD PARENT`, settings in the environment."""
    from responder.config import load_settings

    table_fd, parent = map(int, sys.argv[1:3])
    die_with_parent(signal.SIGKILL, parent)
    settings = load_settings(EdgeSettings, instance=False)
    set_up_process(settings, "edge-warm-up")
    os.nice(19)
    confine_worker(settings)
    if warm_up(settings, Table(settings.table_bytes, table_fd)) is None:
        sys.exit(ENDED_EARLY)


if __name__ == "__main__":
    main()
