"""The walk of the inventory: what Redis should have and has not, or has for too short a time, is signed and published.

Pre-signing, renewal and repair are one thing, the visit of a segment (segments.py): it asks Redis, not its own memory,
so an emptied Redis, a rotated responder, a lost write and a new import are all mended the same way. A visit that is
interrupted leaves what it had published; the next one finds that done. Several pages are under way at once: one is
signed (page.py) while the next is read and the one before is published.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from _fastocsp.wire.types import Item
from cachewarm.errors import Fatal, Transient
from cachewarm.ledger import coverage, inventory
from cachewarm.ledger.connect import Connection
from cachewarm.records.keyring import Keyring
from cachewarm.records.publisher import Publisher
from cachewarm.records.signing_pool import ProcessesLost, SigningPool
from cachewarm.warmer.event_pipeline import Pipeline
from cachewarm.warmer.page import PageSigner
from cachewarm.warmer.renewal import phase_of, visit_at
from cachewarm.warmer.segments import Segment, Segments
from responder.feed.reports import RELEASED
from responder.tasks import end_tasks

log = structlog.get_logger("walk")
#: Pages under way.
PAGES = 4
#: Seconds until a segment whose visit failed is visited again.
RETRY_S = 30.0


@dataclass(kw_only=True)
class Count:
    """How a walk went, and how far it has to go: about `total` certificates, as estimated before it began.

    `faults`: what stopped it, by the id of the issuers whose walk failed; `errors`: the exceptions behind them.
    """

    inventory: int = 0
    covered: int = 0
    signed: int = 0
    total: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


class Walk:
    """Visits segments. One visit at a time; `sign_new` may run beside it."""

    def __init__(
        self,
        pipeline: Pipeline,
        publisher: Publisher,
        keyring: Callable[[], Keyring],
        now: Callable[[], int],
        batch: int,
        pool: SigningPool,
    ) -> None:
        self._keyring, self._now, self._batch = keyring, now, batch
        self._pages = PageSigner(pipeline, publisher, keyring, now, pool)
        self._followed = Keyring()
        self._failing: dict[Segment, str] = {}
        self._written: dict[str, tuple[int, int]] = {}
        self._visited: set[int] = set()
        self.segments = Segments()
        #: This warmer's place among those that run, and how many there are.
        self.share: tuple[int, int] = (0, 1)

    @property
    def faults(self) -> dict[str, str]:
        """Faults that stopped the last visit, by issuer id."""
        there = [(self._followed.issuers.get(each.issuer_no), text) for each, text in self._failing.items()]
        return {issuer.issuer_id: text for issuer, text in there if issuer is not None}

    async def run(self, connection: Connection, progress: Callable[[Count], None]) -> Count:
        """Visit the whole inventory once, and write the coverage.

        What is wrong with one issuer's certificates or key stops its own visits alone.
        """
        self.follow()
        self.segments.wake_all(self._now())
        count = await self.visit_due(connection, progress)
        await self.write_coverage(connection, whole=True)
        return count

    def follow(self) -> None:
        """Take over what the keyring says now: visit issuers that are new, or whose certificates are stated again."""
        ring, before = self._keyring(), self._followed
        if ring is before:
            return
        self._followed = ring
        for number in self.segments.issuers - ring.issuers.keys():
            self.segments.drop_issuer(number)
        rank, warmers = self.share
        cuts = (bytes([0x80 * rank // warmers]),) if rank else ()
        for number in ring.issuers.keys() - self.segments.issuers:
            self.segments.add_issuer(number, cuts)
        for number, issuer in ring.issuers.items():
            former = before.issuers.get(number)
            if former is issuer and before.signing.get(number) is ring.signing.get(number):
                continue
            if former is not None:
                self._wake_issuer(number, is_whole=_is_stated_anew(number, before, ring))

    def on_feed_items(self, items: Sequence[Item]) -> None:
        """Visit what could not be signed of issuers whose fence is lifted."""
        for op, issuer_no, serial, _, _ in items:
            if not serial and op == RELEASED:
                self._wake_issuer(issuer_no, is_whole=False)

    def _wake_issuer(self, number: int, *, is_whole: bool) -> None:
        for segment in self.segments.of(number):
            if is_whole or segment.is_blocked:
                self.segments.wake(segment, self._now())

    async def visit_due(
        self, connection: Connection, progress: Callable[[Count], None], seconds: float = float("inf")
    ) -> Count:
        """Visit every segment that is due; begin none after that many seconds. What was not visited is due again."""
        due = self.segments.take_due(self._now())
        rank, warmers = self.share
        first = len(due) * rank // warmers
        return await self._visit(connection, due[first:] + due[:first], progress, time.monotonic() + seconds)

    async def visit_oldest(self, connection: Connection, before: float, seconds: float = float("inf")) -> Count | None:
        """Visit the segment that was not visited for longest, at least since `before`; None when there is none.

        The rest of one that has grown much is due at once where the time does not suffice.
        """
        segment = self.segments.take_oldest(before)
        if segment is None:
            return None
        return await self._visit(connection, [segment], lambda _: None, time.monotonic() + seconds)

    async def _visit(
        self, connection: Connection, segments: Sequence[Segment], progress: Callable[[Count], None], until: float
    ) -> Count:
        """Visit these segments, several pages at a time."""
        count = Count(total=await self._total(connection) if len(segments) > PAGES else 0)
        pages: set[asyncio.Task[Segment]] = set()
        waiting = list(reversed(segments))
        held = set(segments)
        try:
            while waiting or pages:
                if time.monotonic() >= until:
                    waiting.clear()
                elif waiting and len(pages) < PAGES:
                    segment = waiting.pop()
                    first, rows = await self._read_page(connection, segment, count)
                    held.add(first)
                    if first is not segment:
                        waiting.append(segment)
                    pages.add(asyncio.create_task(self._visit_page(connection, first, rows, count)))
                    continue
                if pages:
                    done, pages = await asyncio.wait(pages, return_when=asyncio.FIRST_COMPLETED)
                    for page in done:
                        held.discard(page.result())
                    progress(count)
        finally:
            await end_tasks(pages)
            for segment in held:
                self.segments.wake(segment, self._now())
        return count

    async def sign_new(self, issuer_no: int, rows: Sequence[inventory.InventoryRow]) -> int:
        """Sign certificates that were entered just now; return how many records were signed."""
        outcome = await self._pages.sign(issuer_no, rows)
        now = self._now()
        for row in rows:
            segment = self.segments.find(issuer_no, row.serial_number)
            if segment is not None:
                segment.is_blocked |= outcome.is_blocked
                self.segments.wake(segment, visit_at(outcome.wake, phase_of(issuer_no, segment.after), now))
        return outcome.signed

    async def write_coverage(self, connection: Connection, *, whole: bool) -> None:
        """Write how much of each issuer's inventory is covered: where that changed, or of every issuer.

        Issuers that were not yet visited as a whole keep the row that they have.
        """
        counted: dict[str, tuple[int, int]] = {}
        visited, self._visited = self._visited, set()
        for number, issuer in self._followed.issuers.items():
            if not whole and number not in visited:
                continue
            segments = self.segments.of(number)
            if all(segment.visited for segment in segments):
                sums = sum(each.inventory for each in segments), sum(each.covered for each in segments)
                if whole or self._written.get(issuer.issuer_id) != sums:
                    counted[issuer.issuer_id] = sums
        if counted:
            await coverage.write_coverage(connection, counted)
            self._written |= counted

    async def _total(self, connection: Connection) -> int:
        """Return about how many certificates there are: as counted by the last visits, or as the ledger estimates."""
        if all(segment.visited for segment in self.segments):
            return sum(segment.inventory for segment in self.segments)
        return await inventory.estimated_certificates(connection)

    async def _read_page(
        self, connection: Connection, segment: Segment, count: Count
    ) -> tuple[Segment, Sequence[inventory.InventoryRow]]:
        """Return the first page of a segment: the whole of it, or a new segment that was cut off its beginning.

        A segment that has grown to twice WARM_BATCH is cut up.
        """
        issuer = self._followed.issuers.get(segment.issuer_no)
        if issuer is None or issuer.issuer_id in count.faults:
            return segment, ()
        limit = 2 * self._batch if segment.visited else self._batch
        rows = await inventory.inventory_page(connection, issuer.issuer_id, segment.after, segment.until, limit)
        if len(rows) < limit:
            return segment, rows
        rows = rows[: self._batch]
        return self.segments.cut(segment, rows[-1].serial_number), rows

    async def _visit_page(
        self, connection: Connection, segment: Segment, rows: Sequence[inventory.InventoryRow], count: Count
    ) -> Segment:
        """Visit one page, which is the whole of a segment; return the segment, whose next visit is then known."""
        issuer = self._followed.issuers.get(segment.issuer_no)
        if issuer is None:
            return segment
        if issuer.issuer_id in count.faults:  # of an earlier page of this visit
            self.segments.wake(segment, self._now() + RETRY_S)
            return segment
        try:
            outcome = await self._pages.sign(segment.issuer_no, rows)
        except Exception as error:
            # whatever is wrong with this issuer, the next one must be visited
            ours = isinstance(error, ProcessesLost) or not isinstance(error, (Transient, Fatal))
            if not ours or connection.is_closed():
                raise
            count.errors[issuer.issuer_id] = error
            count.faults[issuer.issuer_id] = self._failing[segment] = str(error) or type(error).__name__
            self.segments.wake(segment, self._now() + RETRY_S)
            return segment
        now = self._now()
        self._failing.pop(segment, None)
        segment.inventory, segment.covered, segment.is_blocked = outcome.inventory, outcome.covered, outcome.is_blocked
        self.segments.settle(segment, now)
        self._visited.add(segment.issuer_no)
        self.segments.wake(segment, visit_at(outcome.wake, phase_of(segment.issuer_no, segment.after), now))
        count.inventory += outcome.inventory
        count.covered += outcome.covered
        count.signed += outcome.signed
        return segment


def _is_stated_anew(number: int, before: Keyring, now: Keyring) -> bool:
    """Return whether records that were right under the keyring before may be wrong or missing now.

    A responder that follows another one, or a newer CRL of a mirrored issuer, makes no record wrong: records follow
    when they are due, but those that could not be made until then.
    """
    if before.responders.get(number, frozenset()) - now.responders.get(number, frozenset()):
        return True
    if (number in before.signing) != (number in now.signing):
        return True
    return replace(before.issuers[number], windows=None) != replace(now.issuers[number], windows=None)
