"""The answer table of a host: one in shared memory, written by one worker at a time and read by all."""

from typing import final

@final
class Table:
    """Compact records by (issuer_no, hash_algorithm with PARAMETERS_ABSENT, serial key of 1..21 bytes).

    Memory stays under `bytes_limit` bytes: of a few entries looked at the longest unused is forgotten. `fd` is of
    `make_table_memory` with the same limit; None makes a table of our own. ValueError for a key out of range. Nothing
    here waits longer than a few milliseconds for a worker that is writing; who gets no turn keeps and forgets nothing.
    """

    def __new__(cls, bytes_limit: int, fd: int | None = None) -> Table: ...
    def put(self, issuer_no: int, hash_algorithm: int, serial: bytes, record: bytes) -> bool:
        """Keep this record; False when a newer one is there, it can never fit, or another process is writing.

        Newer is by (generation, seq, produced_at); of two of one age the later put stays. MalformedRecord for bytes
        that are no record, or one of another hash algorithm.
        """
    def get(self, issuer_no: int, hash_algorithm: int, serial: bytes) -> bytes | None:
        """The record, or None; counts as a use."""

    def peek(self, issuer_no: int, hash_algorithm: int, serial: bytes) -> bytes | None:
        """Return the record without noting a use or taking the writers' turn.

        None when there is none, and seldom while a writer moves its index word.
        """

    def discard(self, issuer_no: int, hash_algorithm: int, serial: bytes) -> bool:
        """Remove the record; True when there was one and no other process was writing."""

    def set_tick(self, tick: int) -> None:
        """Epoch seconds that uses from now on are noted at, in units of 16; a u32 that does not go back."""

    def __len__(self) -> int:
        """Records kept."""

    @property
    def octets(self) -> int:
        """Bytes in memory, for all processes together."""

    @property
    def evicted(self) -> int:
        """Records forgotten to make room."""

    @property
    def emptied(self) -> int:
        """Times that a writer died in the middle of a change, and the next one emptied the table."""
