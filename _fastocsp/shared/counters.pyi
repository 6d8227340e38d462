"""Rows of 64-bit counters in memory that other processes read."""

from typing import final

from typing_extensions import Buffer

@final
class Counters:
    """A row of 64-bit counters in a buffer that is held, not copied; one process writes a row.

    An index beyond the row, and writing to a read-only buffer, is an IndexError.
    """

    @property
    def count(self) -> int:
        """Numbers in the row: len(buffer) // 8."""

    def __new__(cls, buffer: Buffer) -> Counters: ...
    def add(self, index: int, n: int = 1) -> None:
        """Count `n` more, modulo 2**64; not ordered with other memory."""

    def put(self, index: int, n: int) -> None:
        """Set the number; a reader that gets it also sees what was written before it (release)."""

    def get(self, index: int) -> int:
        """The number now (acquire)."""
