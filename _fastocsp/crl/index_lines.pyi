from typing import final

@final
class IndexReader:
    """Reads the lines of an `index.txt` as rows of a binary COPY stream, without its head and end.

    A row is line int8, serial bytea, subject text, notAfter int8, good bool, revocation time int8, reason int2,
    invalidity date int8; times in epoch seconds, the last three NULL unless it is revoked. `latest` is the latest
    revocation time in range, `longest` the bytes of a line, its end included.
    """

    def __new__(cls, latest: int, longest: int) -> IndexReader: ...
    @property
    def lines(self) -> int:
        """Lines so far, with those that were handed back."""
    @property
    def good(self) -> int:
        """Rows of valid certificates."""
    @property
    def revoked(self) -> int:
        """Rows of revoked certificates."""
    @property
    def expired(self) -> int:
        """Rows of expired certificates."""
    @property
    def times_out_of_range(self) -> int:
        """Rows with a revocation time before 1970 or after `latest`."""
    def feed(self, block: bytes, is_last: bool = False) -> tuple[bytes, list[tuple[int, bytes]]]:
        """Take the next bytes of the file, cut anywhere, and return the rows of its lines and the lines that are not of
        the usual form: their numbers, counted from 1, and their bytes, at most `longest` + 1. `is_last`: the file ends.
        """
