from typing import final

@final
class RowSorter:
    """Sorts the rows of a `COPY (select serial, revoked_at, reason, invalidity_date ...) TO STDOUT (FORMAT binary)`:
    bytea, timestamptz, int2, timestamptz or NULL.

    It holds 33 bytes per row, and those of rows that were read are given back.
    """

    def __new__(cls) -> RowSorter: ...
    @property
    def count(self) -> int:
        """Number of rows that were read."""
    def feed(self, piece: bytes | bytearray) -> None:
        """Take the next bytes, cut anywhere; WireError for another stream or a time not in 1970 to 9999."""
    def read(self, room: int = 262144) -> bytes:
        """Return the next rows ascending by serial, at most `room` bytes (but 1024) of the stream that EntryWriter
        reads; b"" behind its end. Equal serials stay next to each other. WireError: the stream has not ended.
        """
