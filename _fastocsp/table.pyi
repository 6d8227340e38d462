"""The answer table of one worker."""

from typing import final

from _fastocsp.lock import Lock

@final
class Table:
    """Compact records by (issuer_no, hash_algorithm with PARAMETERS_ABSENT, serial magnitude of 1..20 octets).

    Memory stays under `bytes_limit` octets: of a few entries looked at the longest unused is forgotten. ValueError for
    a key out of range.
    """

    @property
    def lock(self) -> Lock:
        """Taken by every method; whoever reads the table from C holds it."""

    def __new__(cls, bytes_limit: int, lock: Lock | None = None) -> Table: ...
    def put(self, issuer_no: int, hash_algorithm: int, serial: bytes, record: bytes) -> bool:
        """Keep this record; False when a newer one is there or it can never fit.

        Newer is by (generation, seq, produced_at); of two of one age the later put stays. MalformedRecord for octets
        that are no record, or one of another hash algorithm.
        """
    def get(self, issuer_no: int, hash_algorithm: int, serial: bytes) -> bytes | None:
        """The record, or None; counts as a use."""

    def discard(self, issuer_no: int, hash_algorithm: int, serial: bytes) -> bool:
        """Forget the record; True when there was one."""

    def set_tick(self, tick: int) -> None:
        """The time stamp that uses from now on get, for eviction; a u32 that does not go back."""

    def __len__(self) -> int:
        """Records kept."""

    @property
    def octets(self) -> int:
        """Octets in use, the allocator's share included."""
