"""One revocation, from the feed to the edges: mint, check, publish, announce, acknowledge.

What a crash leaves behind, after each line of `process`:
mint        nothing; the event is read again.
check       nothing.
publish     Redis has the new record; edges answered `revoked` since their own feed had the event, now from Redis.
announce    edges forget what they had; a crash before it costs them one contradicted look-up.
acknowledge the cursor is behind the event; without it the next start repeats the line, and Redis refuses nothing
            that is the same or newer.
"""

from collections.abc import Callable, Sequence

import structlog

from _fastocsp.wire.types import Item
from cachewarm.errors import Transient
from cachewarm.ledger import feed as ledger_feed
from cachewarm.ledger import inventory
from cachewarm.ledger.chunks import chunks
from cachewarm.ledger.connect import Connection
from cachewarm.records.keyring import Keyring, Signing
from cachewarm.records.mint import check, mint
from cachewarm.records.publisher import Publisher
from cachewarm.records.statement import Moment, NoStatement, Statement, statement_for
from responder.domain.key import Key
from responder.domain.status import PRESIGNED
from responder.feed.local import LocalFeed

log = structlog.get_logger("pipeline")
Serial = tuple[int, bytes]
#: Certificates whose records are in memory together; a mirrored CRL may bring a million in one change.
PROCESSED_AT_ONCE = 500
_TRANSIENT = (NoStatement.NO_LEASE, NoStatement.CLOCK_BEHIND)


class Pipeline:
    """Processes changes of status; holds no state that a restart would miss."""

    def __init__(
        self,
        feed: LocalFeed,
        publisher: Publisher,
        keyring: Callable[[], Keyring],
        now: Callable[[], int],
        validity_s: float,
    ) -> None:
        self._feed, self._publisher, self._keyring = feed, publisher, keyring
        self._now, self.validity_s = now, validity_s

    async def process(
        self, connection: Connection, items: Sequence[Item], cursor: ledger_feed.Cursor, name: str
    ) -> int:
        """Publish the records that these changes touch; return how many were newer. Transient: do it again."""
        touched = sorted({(issuer_no, serial) for _, issuer_no, serial, _, _ in items if serial})  # but for fences
        published = 0
        for piece in chunks(touched, PROCESSED_AT_ONCE):
            records = self.mint_all(piece, await self._ends(connection, piece))
            published += await self._publisher.publish(records)
            await self._publisher.announce([key for key, _ in records])
        await ledger_feed.write_cursor(connection, name, cursor)
        return published

    def mint_all(self, serials: Sequence[Serial], ends: dict[Serial, int]) -> list[tuple[Key, bytes]]:
        """Checked records under both pre-signed hashes; what has expired or has no responder is left out."""
        records = []
        for issuer_no, serial in serials:
            signing = self._keyring().signing.get(issuer_no)
            statement = self.statement_for(signing, serial, ends.get((issuer_no, serial))) if signing else None
            if signing is None or statement is None:
                continue
            for algorithm in PRESIGNED:
                template = signing.templates[algorithm]
                record = mint(statement, serial, template, signing.pair.key, self._now())
                check(record, serial, template, signing.pair.certificate)
                records.append((Key(issuer_no, algorithm, serial), record))
        return records

    def statement_for(self, signing: Signing, serial: bytes, not_after: int | None) -> Statement | None:
        """Return what may be stated of a certificate and kept in Redis; None when nothing may be.

        Transient when nothing may be stated of any certificate: without a lease, or with a clock that stepped back.
        """
        return self._stated(signing, serial, not_after, self._moment())

    def statements_for(self, signing: Signing, rows: Sequence[inventory.InventoryRow]) -> list[Statement | None]:
        """Return the same for many certificates of one issuer, as of one moment."""
        at, number = self._moment(), signing.issuer.issuer_no
        found: list[Statement | None] = []
        shared: tuple[Statement | None] | None = None
        shared_from = at.now + self.validity_s  # statement.is_shared
        for serial, not_after in rows:
            if not_after is None or not_after < shared_from or self._feed.revoked(number, serial) is not None:
                found.append(self._stated(signing, serial, not_after, at))
                continue
            if shared is None:
                shared = (self._stated(signing, serial, not_after, at),)
            found.append(shared[0])
        return found

    def _moment(self) -> Moment:
        return Moment(self._now(), self._feed.as_of, self._feed.position)

    def _stated(self, signing: Signing, serial: bytes, not_after: int | None, at: Moment) -> Statement | None:
        stated = statement_for(self._feed, signing, serial, not_after, at, self.validity_s)
        if isinstance(stated, NoStatement):
            if stated in _TRANSIENT:
                raise Transient(f"{stated.value}: nothing can be stated as good")
            return None
        return stated if stated.storable else None

    async def _ends(self, connection: Connection, serials: Sequence[Serial]) -> dict[Serial, int]:
        ends: dict[Serial, int] = {}
        for issuer_no in {number for number, _ in serials}:
            wanted = [serial for number, serial in serials if number == issuer_no]
            rows = await inventory.statuses(connection, issuer_no, wanted)
            ends |= {(issuer_no, serial): int(row.not_after.timestamp()) for serial, row in rows.items()}
        return ends
