class Table:
    """Compact records by (issuer_no, hash_algorithm, serial magnitude), at most about `bytes_limit` octets."""

    def __init__(self, bytes_limit: int) -> None: ...
    def put(self, issuer_no: int, hash_algorithm: int, serial: bytes, record: bytes) -> bool:
        """Keep this record; False when a newer one is there or it can never fit. MalformedRecord when it is none."""
    def get(self, issuer_no: int, hash_algorithm: int, serial: bytes) -> bytes | None:
        """The record, or None."""
    def discard(self, issuer_no: int, hash_algorithm: int, serial: bytes) -> bool:
        """Forget the record; True when there was one."""
    def set_tick(self, tick: int) -> None:
        """The time stamp that uses from now on get, for eviction."""
    def __len__(self) -> int: ...
    @property
    def octets(self) -> int:
        """Octets in use, the allocator's share included."""
