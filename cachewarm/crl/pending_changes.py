"""Which CRLs lack a change of the revoked set: by the feed's outbox, so whoever wrote it, and whoever was running then.

A complete CRL says up to which place of the feed it was read. So a warmer that starts, one that was cut off and the
second of two all know what it lacks, and that it lacks nothing. After a restore or a promotion, which begin a new
generation, every CRL is made anew.
"""

from _fastocsp.revoked.ledger_wire import parse_items
from cachewarm.ledger.connect import Connection, translated
from cachewarm.ledger.feed import feed_position

#: Events read at a time; one has up to a thousand changes.
PAGE = 20


class Changes:
    """The last event about each issuer, of those since the oldest CRL."""

    def __init__(self) -> None:
        self._generation = 0
        self._known_from = self._read_to = 0
        self._last: dict[int, int] = {}

    async def read(self, connection: Connection) -> None:
        """Go on from where the last reading ended, or begin anew where that is not possible."""
        head = await feed_position(connection)
        if head.generation != self._generation or not head.base <= self._read_to <= head.seq:
            oldest = await _oldest(connection, head.generation)
            self._generation, self._last = head.generation, {}
            self._known_from = self._read_to = max(head.base, head.seq if oldest is None else oldest)
        while await self._page(connection):
            pass

    def lacks(self, issuer_no: int, generation: int | None, seq: int | None) -> bool:
        """Whether the issuer's CRL, which was read at that place, lacks something; True where nobody can know."""
        if seq is None or generation != self._generation or seq < self._known_from:
            return True
        return self._last.get(issuer_no, 0) > seq

    async def _page(self, connection: Connection) -> bool:
        with translated():
            rows = await connection.fetch(
                "select seq, payload from revocation_events where seq > $1 order by seq limit $2", self._read_to, PAGE
            )
        for row in rows:
            self._last |= {issuer_no: row["seq"] for _, issuer_no, _, _, _ in parse_items(row["payload"])}
            self._read_to = row["seq"]
        return len(rows) == PAGE


async def _oldest(connection: Connection, generation: int) -> int | None:
    """The place of the CRL that has seen least."""
    with translated():
        oldest: int | None = await connection.fetchval(
            "select min(seq) from crl_cache where generation = $1", generation
        )
    return oldest
