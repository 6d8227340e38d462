"""The revoked set of one moment, as entries of the complete CRL, of its shards and of the delta: one transaction.

The number is spent and the bases are chosen before; thisUpdate is taken after, so no entry lies ahead of it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from _fastocsp.crl.entry_writer import EntryWriter
from _fastocsp.crl.row_sorter import RowSorter
from _fastocsp.wire.errors import WireError
from cachewarm.crl.build import EncodedEntries, encoded_entries
from cachewarm.crl.plan import expired_before
from cachewarm.errors import Refused
from cachewarm.ledger import revoked_rows as rows
from cachewarm.ledger.connect import Connection, translated
from cachewarm.ledger.crl_parts import next_bases
from cachewarm.ledger.crls import CRLBase
from cachewarm.ledger.feed import Cursor, feed_position
from cachewarm.ledger.issuers import Issuer


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Revocations of an issuer up to `place` of the feed; `count` apart from the entries; with deltas the changes since
    the first of `bases`.
    """

    place: Cursor
    entries: EncodedEntries
    count: int
    bases: list[CRLBase]
    changes: EncodedEntries | None


async def read_snapshot(
    connection: Connection,
    issuer: Issuer,
    number: int,
    last_this_update: datetime | None,
    known_bases: Sequence[CRLBase],
    base_age_s: float,
) -> Snapshot:
    """Everything that is revoked now, but for what has expired and was on a CRL since, for CRL `number`."""
    limit = expired_before(last_this_update)
    sorter, writer = RowSorter(), EntryWriter(issuer.crl_shards)
    bases: list[CRLBase] = []
    changes = None
    with translated():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            head = await feed_position(connection)
            change_no = await rows.last_change(connection, issuer.issuer_id)
            try:
                await rows.copy_entries(connection, issuer.issuer_id, limit, sorter.feed)
                entries, count = await asyncio.gather(
                    asyncio.to_thread(_encoded, sorter, writer),
                    rows.count_entries(connection, issuer.issuer_id, limit),
                )
            except WireError as error:
                raise Refused(f"the revoked set of {issuer.issuer_id} cannot be encoded as a CRL: {error}") from error
            if issuer.delta_crl:
                new = CRLBase(
                    issuer_id=issuer.issuer_id,
                    crl_number=number,
                    this_update=datetime.now(UTC),
                    change_no=change_no,
                    expired_before=limit,
                )
                bases = next_bases(known_bases, new, base_age_s)
                changes = await read_changes(connection, issuer.issuer_id, bases[0], limit)
    place = Cursor(head.generation, head.seq)
    return Snapshot(place=place, entries=entries, count=count, bases=bases, changes=changes)


def _encoded(sorter: RowSorter, writer: EntryWriter) -> EncodedEntries:
    while piece := sorter.read():
        writer.feed(piece)
    return encoded_entries(writer)


async def read_changes(connection: Connection, issuer_id: str, base: CRLBase, limit: datetime) -> EncodedEntries:
    """Return the changes for a delta on that base; `limit`: a complete CRL of now leaves out what expired before it."""
    writer = EntryWriter(is_delta=True)
    try:
        await rows.copy_changes(
            connection,
            issuer_id,
            change_no=base.change_no,
            expired_before=(base.expired_before, limit),
            feed=writer.feed,
        )
        return encoded_entries(writer)
    except WireError as error:
        raise Refused(f"the changes of {issuer_id} cannot be encoded as a delta CRL: {error}") from error
