"""One revocation, from the feed to the edges: mint, check, publish, announce, acknowledge.

What a crash leaves behind, after each line of `carry`:
mint        nothing; the event is read again.
check       nothing.
publish     Redis has the new record; edges answered `revoked` since their own feed had the event, now from Redis.
announce    edges forget what they had; a crash before it costs them one contradicted look-up.
acknowledge the cursor stands behind the event; without it the next start repeats the line, and Redis refuses nothing
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
from cachewarm.records.mint import Statement, check, good, mint, revoked, within
from cachewarm.records.publisher import Publisher
from responder.domain.status import PRESIGNED
from responder.domain.window import next_update
from responder.feed.local import LocalFeed
from responder.sources.base import Key

log = structlog.get_logger("pipeline")
Serial = tuple[int, bytes]
#: Certificates whose records are in memory together; a mirrored CRL may bring a million in one change.
CARRIED_AT_ONCE = 500


class Pipeline:
    """Carries changes of status; it holds no state that a restart would miss."""

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

    async def carry(self, connection: Connection, items: Sequence[Item], cursor: ledger_feed.Cursor, name: str) -> int:
        """Carry these changes; how many records went out. Transient: do it again."""
        touched = sorted({(issuer_no, serial) for _, issuer_no, serial, _, _ in items})
        published = 0
        for piece in chunks(touched, CARRIED_AT_ONCE):
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
            statement = self.state(signing, issuer_no, serial, ends.get((issuer_no, serial))) if signing else None
            if signing is None or statement is None:
                continue
            for algorithm in PRESIGNED:
                template = signing.templates[algorithm]
                record = mint(statement, serial, template, signing.pair.key, self._now())
                check(record, serial, template, signing.pair.certificate)
                records.append((Key(issuer_no, algorithm, serial), record))
        return records

    def state(self, signing: Signing, issuer_no: int, serial: bytes, not_after: int | None) -> Statement | None:
        """What the feed says of a certificate now; None when nothing can be said that lasts."""
        now = self._now()
        end = next_update(now, self._validity, not_after, signing.pair.certificate.not_after)
        if end is None:
            return None
        listed = self._feed.revoked(issuer_no, serial)
        if listed is not None:
            return revoked(now, end, self._feed.position, *listed)
        as_of = self._feed.as_of
        if as_of is None:
            raise Transient("the feed has no lease: nothing is called good")
        this_update = min(now, as_of)
        end = min(end, this_update + int(self._validity))  # BR 4.9.10 limits what lies between the two
        statement = within(signing.issuer, good(this_update, end, self._feed.position))
        return None if statement is None or statement.next_update <= now else statement

    async def _ends(self, connection: Connection, serials: Sequence[Serial]) -> dict[Serial, int]:
        ends: dict[Serial, int] = {}
        for issuer_no in {number for number, _ in serials}:
            wanted = [serial for number, serial in serials if number == issuer_no]
            rows = await inventory.statuses(connection, issuer_no, wanted)
            ends |= {(issuer_no, serial): int(row.not_after.timestamp()) for serial, row in rows.items()}
        return ends
