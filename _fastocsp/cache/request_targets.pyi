"""Request targets that were seen recently, and the (issuer number, hash algorithm, serial) each asks for."""

from typing import final

@final
class Targets:
    """Sets of four places, a power of two of them; a target has any place of its set, by its hash, or takes one."""

    def __new__(cls, sets: int) -> Targets: ...
    def put(self, target: bytes, issuer_no: int, hash_algorithm: int, serial: bytes) -> None:
        """It was asked for: know it, if it was lately before. One of less than 16 or more than 272 bytes is not kept.

        ValueError for what is no key.
        """
    def get(self, target: bytes) -> tuple[int, int, bytes] | None:
        """Return what the target asks for, or None when it is not in the cache."""
    def clear(self) -> None:
        """Remove every target from the cache."""
