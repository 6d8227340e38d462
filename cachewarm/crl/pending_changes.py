"""Which CRLs lack a change of the revoked set, by the feed's outbox: independent of who wrote it and what was running
then.

A complete CRL records up to which place of the feed it was read. A warmer that starts, one that was interrupted and the
second of two all know what a CRL lacks. After a restore or a promotion, which begin a new generation, every CRL is
rebuilt.
"""

import time

from _fastocsp.revoked.ledger_wire import parse_items
from _fastocsp.wire.types import REPORTED_ITEM
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.crl_states import events_after, oldest_place
from cachewarm.ledger.feed import feed_position

#: Events read at a time; one has up to a thousand changes.
PAGE = 20
#: Seconds that CRLs wait after a new generation was seen.
SETTLING_S = 5.0


class Changes:
    """The last event about each issuer, of those since the oldest CRL."""

    def __init__(self) -> None:
        self._generation = 0
        self._known_from = self._read_to = 0
        self._last: dict[int, int] = {}
        self._begun = 0.0

    async def read(self, connection: Connection) -> set[int] | None:
        """Continue where the last reading ended; return the numbers of the issuers that changed since.

        None: it started over, where continuing is not possible.
        """
        head = await feed_position(connection)
        is_new = head.generation != self._generation or not head.base <= self._read_to <= head.seq
        if is_new:
            oldest = await oldest_place(connection, head.generation)
            self._begun = time.monotonic() if head.generation != self._generation else self._begun
            self._generation, self._last = head.generation, {}
            self._known_from = self._read_to = max(head.base, head.seq if oldest is None else oldest)
        touched: set[int] = set()
        is_more = self._read_to < head.seq
        while is_more:
            is_more = await self._page(connection, touched) and self._read_to < head.seq
        return None if is_new else touched

    @property
    def settled_at(self) -> float:
        """When waiting for a new generation ends, on the monotonic clock."""
        return self._begun + SETTLING_S

    def is_settling(self, generation: int | None) -> bool:
        """Return whether a CRL of an earlier generation should wait for what the edges know and the ledger lost.

        A restored ledger may have an older CRL than the one that edges serve, which they report within seconds.
        """
        is_older = generation is not None and generation != self._generation
        return is_older and time.monotonic() < self.settled_at

    def lacks(self, issuer_no: int, generation: int | None, seq: int | None) -> bool:
        """Return whether the issuer's CRL, which was read at that place, lacks a change; True when unknown."""
        if seq is None or generation != self._generation or seq < self._known_from:
            return True
        return self._last.get(issuer_no, 0) > seq

    async def _page(self, connection: Connection, touched: set[int]) -> bool:
        events = await events_after(connection, self._read_to, PAGE)
        for seq, payload in events:
            items = parse_items(payload)
            changed = {item[1]: seq for item in items if item[0] != REPORTED_ITEM}  # a report changes no CRL
            self._last |= changed
            touched.update(changed)
            self._read_to = seq
        return len(events) == PAGE
