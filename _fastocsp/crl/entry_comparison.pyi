from typing import final

from _fastocsp.crl.entry_buffer import EntryBuffer

@final
class EntryComparison:
    """Finds the entries of an earlier CRL whose serials the entries `after` do not revoke.

    Both are entries as `entry_reader.entries_of` returns them, ascending by serial. In a delta removeFromCRL revokes
    nothing. WireError from every method for entries that are malformed or out of order.
    """

    def __new__(cls, after: bytes | memoryview | EntryBuffer, is_delta: bool = False) -> EntryComparison: ...
    @property
    def count(self) -> int:
        """Number of entries of the earlier CRL so far."""
    def feed(self, piece: bytes | memoryview) -> list[tuple[bytes, int, int, int | None]]:
        """Take the next bytes of the earlier CRL's entries, cut anywhere, and return those that are gone: serial,
        revocation time, reason, invalidity date or None. Times are epoch seconds.
        """
    def finish(self) -> None:
        """End the earlier CRL's entries and let go of those after; WireError when the last one is cut short."""

def summarize_entries(entries: bytes | bytearray | memoryview) -> tuple[int, int, int, bool]:
    """Number of entries that a CertID can name and of others, the latest revocation time, whether all serials ascend.

    `entries` is what `entries_of` returns; ascending numbers are distinct. WireError for an entry that is malformed. A
    time that is unreadable counts as 9999-12-31.
    """
