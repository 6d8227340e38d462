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
        self._now, self._validity = now, validity_s

    async def process(
        self, connection: Connection, items: Sequence[Item], cursor: ledger_feed.Cursor, name: str
    ) -> int:
        """Publish the records that these changes touch; return how many were newer. Transient: do it again."""
        touched = sorted({(issuer_no, serial) for _, issuer_no, serial, _, _ in items})
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
        at = Moment(self._now(), self._feed.as_of, self._feed.position)
        stated = statement_for(self._feed, signing, serial, not_after, at, self._validity)
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
