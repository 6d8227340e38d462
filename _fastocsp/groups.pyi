from collections.abc import Iterable, Mapping
from typing import final

from _fastocsp.values import Groups, Item

def merge_groups(groups: Mapping[tuple[int, int], bytes], items: Iterable[Item]) -> Groups:
    """Sorted rows after these items; the last item of a serial wins."""

def missing_rows(before: Mapping[tuple[int, int], bytes], after: Mapping[tuple[int, int], bytes]) -> Groups:
    """The rows of `before` whose serials `after` does not have."""

def join_groups(groups: Mapping[tuple[int, int], bytes], more: Mapping[tuple[int, int], bytes]) -> Groups:
    """Both together; where both have a serial the row of `groups` stands."""

@final
class SnapshotReader:
    """Reads a binary COPY of issuer_no, serial_number, revoked_at and reason of feed_snapshot, in any pieces."""

    def feed(self, piece: bytes | bytearray) -> None:
        """The next octets; WireError when they are not of such a stream."""
    def groups(self) -> Groups:
        """All rows, sorted; WireError when the stream has not ended."""
