from typing_extensions import Buffer

class Bucket:
    """Requests a minute for one IPv4 address or IPv6 /64, in shared zeroed memory; 0 a minute switches it off."""

    def __init__(self, buffer: Buffer, per_minute: int) -> None: ...
    @staticmethod
    def size(slots: int) -> int:
        """Octets of memory for at least `slots` addresses."""
    def allow(self, packed: bytes, now_ns: int) -> bool:
        """True when a request of this packed address (4 or 16 octets) is within the limit; counts it."""
