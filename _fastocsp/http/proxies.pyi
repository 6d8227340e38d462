"""Whose X-Forwarded-For is believed, and whom it names."""

from collections.abc import Iterable
from typing import final

@final
class Proxies:
    """Trusted networks, as (packed address of 4 or 16 bytes, bits of the prefix); ValueError for anything else."""

    def __new__(cls, networks: Iterable[tuple[bytes, int]]) -> Proxies: ...
    def trust(self, packed: bytes) -> bool:
        """True when this packed address lies in one of them; mapped IPv4 counts as IPv4."""

    def client_of(self, forwarded_for: bytes, peer: bytes) -> bytes:
        """Packed address of the client: the last hop that is no trusted proxy, else the peer; the peer itself unless it
        is a trusted proxy. b"" stands for an absent field.
        """
