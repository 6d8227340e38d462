"""Certificates that were entered just now: their records are signed within a second, and nothing else is read.

It does not matter who wrote them, and how: the ledger notes the transaction of every row (0023). The index is looked at
twice a second rather than LISTENed to: a NOTIFY takes a lock of the whole database until its commit is on disk, so a
trigger that notifies would make all issuing transactions of a CA wait for one another.
"""

import asyncio
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import aclosing

import structlog

from cachewarm.ledger import entered
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.inventory import InventoryRow
from cachewarm.records.keyring import Keyring
from cachewarm.warmer.inventory_walk import PAGES, Walk
from responder.feed.place import Place
from responder.tasks import end_tasks

log = structlog.get_logger("walk")
LOOK_S = 0.5
#: A look that takes long, as while a long transaction holds the place back, is followed by this many times the pause.
PAUSE_FACTOR = 20
#: Seconds that another warmer has for its share.
OTHERS_S = 10.0


class NewCertificates:
    """Follows the inventory; `batch` certificates are in memory together."""

    def __init__(self, walk: Walk, keyring: Callable[[], Keyring], now: Callable[[], int], batch: int) -> None:
        self._walk, self._keyring, self._now, self._batch = walk, keyring, now, batch
        self._place: Place | None = None
        self._looked_s = 0.0

    async def start(self, connection: Connection) -> None:
        """Follow from here on; what was entered before belongs to the first walk."""
        if self._place is None:
            self._place = await entered.current_place(connection)

    async def run(self, connection: Connection) -> None:
        """Sign new certificates until cancelled."""
        await self.start(connection)
        while True:
            await self.look(connection)
            await asyncio.sleep(max(LOOK_S, PAUSE_FACTOR * self._looked_s))

    async def look(self, connection: Connection) -> int:
        """Sign what is new; return how many records that were."""
        since = self._place or await entered.current_place(connection)
        begun = time.monotonic()
        behind = await entered.any_entered(connection, since)
        self._looked_s = time.monotonic() - begun
        if behind is not None:
            self._move(since, behind)
            return 0
        signed, count, begun = 0, 0, time.monotonic()
        pages: set[asyncio.Task[int]] = set()
        try:
            async with aclosing(entered.entered_certificates(connection, since, self._batch)) as found:
                async for place, rows in found:
                    count, behind = count + len(rows), place
                    pages.add(asyncio.create_task(self._sign(rows)))
                    if len(pages) == PAGES:
                        done, pages = await asyncio.wait(pages, return_when=asyncio.FIRST_COMPLETED)
                        signed += sum(page.result() for page in done)
            signed += sum(await asyncio.gather(*pages))
        finally:
            await end_tasks(pages)
        self._move(since, behind or since)
        log.info("new certificates", certificates=count, signed=signed, seconds=round(time.monotonic() - begun, 2))
        return signed

    def _move(self, since: Place, behind: Place) -> None:
        self._place = behind
        if not since.leads_to(behind):  # another server, which may have another end: all of it may be new
            self._walk.segments.wake_all(self._now())

    async def _sign(self, rows: Sequence[entered.NewCertificate]) -> int:
        """Sign this warmer's share; the segments of the others' are visited a little later."""
        numbers = {issuer.issuer_id: number for number, issuer in self._keyring().issuers.items()}
        rank, warmers = self._walk.share
        ours = defaultdict(list)
        for row in rows:
            number = numbers.get(row.issuer_id)
            if number is None:  # the first visit of a new issuer finds them
                continue
            if zlib.crc32(row.serial_number) % warmers == rank:
                ours[number].append(InventoryRow(row.serial_number, row.not_after))
            elif (segment := self._walk.segments.find(number, row.serial_number)) is not None:
                self._walk.segments.wake(segment, self._now() + OTHERS_S)
        return sum([await self._walk.sign_new(number, new) for number, new in ours.items()])
