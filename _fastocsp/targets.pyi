"""Request targets that were understood a moment ago, and the (issuer number, hash algorithm, serial) each asks for."""

from typing import final

@final
class Targets:
    """A place for each target, by its hash; a new one takes the place of the one before. A power of two of places."""

    def __new__(cls, places: int) -> Targets: ...
    def put(self, target: bytes, issuer_no: int, hash_algorithm: int, serial: bytes) -> None:
        """Know it; one of less than 16 or more than 224 octets is not kept. ValueError for what is no key."""
    def get(self, target: bytes) -> tuple[int, int, bytes] | None:
        """What it asks for, None when it is not known."""
    def clear(self) -> None:
        """Forget them all."""
