"""Messages of the ledger to an edge: items of the feed, and the rows of a whole snapshot."""

from typing import final

from _fastocsp.wire.types import Groups, Item

def parse_items(payload: bytes) -> list[Item]:
    """(op, issuer_no, serial, revocation_time, reason) of each feed item; WireError when one is cut short.

    The serial of a fence is empty.
    """

@final
class SnapshotReader:
    """Reads a binary COPY of issuer_no, serial_number, revoked_at and reason of feed_snapshot, in any pieces."""

    def feed(self, piece: bytes | bytearray) -> None:
        """The next bytes; WireError when they are not of such a stream."""
    def groups(self) -> Groups:
        """All rows, sorted; WireError when the stream has not ended."""
