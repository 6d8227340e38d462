"""The master's part of coverage: turns that read the counts, draw a sample, look it up, and write the report.

A turn costs a few milliseconds and a bounded number of look-ups; turns are at least a second apart and take a
two-hundredth of a core at most. Until the edge has started they follow each other quickly.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import cast

import asyncpg
import structlog
from redis.exceptions import ResponseError

from _fastocsp.ocsp.signer_wire import pack_record_query
from _fastocsp.table.table import Table
from responder.config import EdgeSettings
from responder.domain.catalog import Catalog
from responder.domain.key import Key
from responder.domain.redis_layout import record_name
from responder.domain.status import HashAlgorithm
from responder.edge.coverage import COVERAGE_NAME, FENCE, FRESH_S, CoverageReport, Samples, Usable, as_rows, choose_keys
from responder.feed.inventory import (
    SampledCertificate,
    draw_certificates,
    next_certificates,
    read_unexpired,
    read_warmers,
)
from responder.feed.poll import Connection
from responder.log_limits import ChangeLog, RateLimitedLog
from responder.sources.redis_reader import MAX_KEYS, REDIS_FAILURES, connect, cut_values, may_not_run

log = structlog.get_logger("coverage")
#: Between two turns, before the edge has started and after; the longest pause; turns take this part of the time.
STARTING_S, PAUSE_S, LONGEST_S, PART = 0.1, 1.0, 10.0, 200
#: READY_COVERAGE is waited for this long at a start.
START_S = 60.0
#: Blocks of the table of certificates that are drawn, and issuers and certificates that are read in order, per turn.
DRAWN, ISSUERS, PAGE = 64, 4, 16
REDIS_S, SIGNER_S = 1.0, 0.5
#: What an older ledger, or one of other rights, answers.
_NO_COUNTS = (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError, asyncpg.InsufficientPrivilegeError)

_NO_CERTIFICATE = Key(0, HashAlgorithm.SHA256, b"\x01")

Outcomes = list[tuple[str, bool]]


class CoverageWatch:
    """The sampling of one edge host; `revoked` returns (revocation time, reason) of a listed serial."""

    def __init__(
        self, settings: EdgeSettings, table: Table, revoked: Callable[[int, bytes], tuple[int, int] | None]
    ) -> None:
        self._settings, self._table, self._revoked = settings, table, revoked
        self._begun = time.monotonic()
        self._samples = Samples()
        self._due = 0.0
        self._unwritten, self._unreadable, self._wrong = ChangeLog(), ChangeLog(), RateLimitedLog()
        self._redis = connect(settings.redis_url.get_secret_value(), REDIS_S) if settings.redis_url else None
        self.report = CoverageReport(redis=None if self._redis is None else False)
        with contextlib.suppress(OSError):  # of the life before
            (settings.run / COVERAGE_NAME).unlink(missing_ok=True)

    def begin(self, *, has_lease: bool) -> None:
        """Write the first report: an edge that took up a lease was away for seconds, and goes on where it was."""
        self.report.is_started = has_lease
        self._write()

    async def close(self) -> None:
        """Let go of Redis."""
        if self._redis is not None:
            with contextlib.suppress(*REDIS_FAILURES):
                await self._redis.aclose()

    async def run_for(self, seconds: float, connection: Connection, catalog: Catalog) -> None:
        """Make the turns that are due within these seconds, then return."""
        until = time.monotonic() + seconds
        while True:
            if self._due < until:
                await asyncio.sleep(self._due - time.monotonic())
                begun = time.thread_time()
                await self.turn(connection, catalog)
                took = 2 * (time.thread_time() - begun)  # the stores' part is about as much
                is_starting = catalog.issuers and not self.report.is_started
                self._due = time.monotonic() + (
                    STARTING_S if is_starting else min(max(PAUSE_S, PART * took), LONGEST_S)
                )
            if self._due >= until:
                await asyncio.sleep(until - time.monotonic())
                return

    async def turn(self, connection: Connection, catalog: Catalog) -> None:
        """Read, draw, look up and write once."""
        now, report = time.time(), self.report
        report.signer = await self._reaches_signer()
        try:
            self._samples.take_counts(await read_unexpired(connection), catalog)
            report.warmers = as_rows(await read_warmers(connection))
            drawn = await draw_certificates(connection, DRAWN)
            pages = await next_certificates(
                connection, self._samples.next_issuers(ISSUERS, (each.issuer_id for each in drawn)), PAGE
            )
        except _NO_COUNTS as error:
            self._unreadable.warn("inventory not readable", "ledger", str(error), advice="fastocsp db migrate")
        else:
            report.has_counts = True
            self._samples.fresh_s = FRESH_S if report.is_started else 0.0
            self._samples.go_on(pages, PAGE)
            self._samples.add_drawn(now, await self._look_up(drawn, catalog, now))
            paged = [each for page in pages.values() for each in page]
            self._samples.add(now, await self._look_up(paged, catalog, now))
        report.at, report.ledger_away_since = now, None
        report.whole, report.issuers = self._samples.whole(), self._samples.estimates()
        if catalog.issuers:
            self._judge_start(is_fenced=any(self._revoked(each.issuer_no, FENCE) for each in catalog.issuers))
        self._write()

    def ledger_lost(self) -> None:
        """Show that the ledger cannot be reached."""
        if self.report.ledger_away_since is None:
            self.report.ledger_away_since = time.time()
        self._judge_start()
        self._write()

    def _judge_start(self, *, is_fenced: bool = False) -> None:
        """An edge that was started with a cold or empty Redis is given some time to be covered, no more.

        Beside a fence nothing is waited for: `good` cannot be signed ahead, and clients need the `revoked` answers.
        """
        report = self.report
        covered = report.has_counts and report.whole.share >= self._settings.ready_coverage
        waited = time.monotonic() - self._begun > START_S
        unknowable = report.ledger_away_since is not None or not report.has_counts
        if covered or waited or unknowable or is_fenced or self._redis is None:
            report.is_started = True

    def _write(self) -> None:
        try:
            self.report.write(self._settings.run)
        except OSError as error:  # a full disk: what is there shows its age
            self._unwritten.warn("coverage not written", "report", str(error))
        else:
            self._unwritten.well("report")

    async def _look_up(self, certificates: Sequence[SampledCertificate], catalog: Catalog, now: float) -> Outcomes:
        chosen = choose_keys(certificates, catalog, now)
        usable = Usable(catalog, self._revoked, now)
        outcomes = [usable.is_usable(key, self._table.peek(*key)) for _, key in chosen]
        wanted = [at for at, found in enumerate(outcomes) if not found]
        values = await self._from_redis([record_name(chosen[at][1]) for at in wanted])
        verified = False
        for at, value in zip(wanted, values, strict=True):
            key = chosen[at][1]
            outcomes[at] = usable.is_usable(key, value)
            if outcomes[at] and not verified and value is not None:  # the first of a sample that is drawn by lot
                verified = True
                outcomes[at] = usable.verify(key, value)
                if not outcomes[at]:
                    self._wrong.warn("record in Redis refused", name=record_name(key).hex())
        return [(issuer_id, found) for (issuer_id, _), found in zip(chosen, outcomes, strict=True)]

    async def _from_redis(self, names: list[bytes]) -> list[bytes | None]:
        """Return the values; nothing where Redis cannot be reached."""
        if self._redis is None:
            return [None] * len(names)
        values: list[bytes | None] = []
        try:
            async with asyncio.timeout(REDIS_S):
                if not names:
                    await self._redis.ping()
                for at in range(0, len(names), MAX_KEYS):
                    values += await self._values(names[at : at + MAX_KEYS])
        except REDIS_FAILURES:
            self.report.redis = False
            return [None] * len(names)
        self.report.redis = True
        return values

    async def _values(self, names: list[bytes]) -> list[bytes | None]:
        assert self._redis is not None
        try:
            return list(await cut_values(self._redis, names))
        except ResponseError as error:
            if not may_not_run(error):
                raise
            return cast("list[bytes | None]", await self._redis.mget(names))

    async def _reaches_signer(self) -> bool:
        """Return whether the signer answers a query that it refuses without a signature."""
        try:
            async with asyncio.timeout(SIGNER_S):
                reader, writer = await asyncio.open_unix_connection(str(self._settings.signer))
                try:
                    writer.write(pack_record_query(1, *_NO_CERTIFICATE))
                    return bool(await reader.read(1))
                finally:
                    writer.close()
        except OSError:  # TimeoutError among them
            return False
