"""The rate limit: the generic cell rate algorithm, one arrival time an address (compat.md: over the limit)."""

from typing import final

from typing_extensions import Buffer

@final
class Bucket:
    """Requests a minute for one IPv4 address or IPv6 /64, and 16 times as many for an IPv6 /48.

    Workers share `buffer`, which is held, not copied; it has the key of their hash.

    Over the limit of n a minute, one more request is due every 60/n seconds. When all slots of a set are taken the
    address whose use is longest over is forgotten.
    """

    def __new__(cls, buffer: Buffer, per_minute: int, key: int) -> Bucket:
        """Use a writable buffer of `size(slots)` bytes, zeroed at first; ValueError for another size.

        A `per_minute` of 0 is no limit. `key` is a random number of 64 bits that nobody else knows; the first of those
        that share the buffer decides.
        """
    @staticmethod
    def size(slots: int) -> int:
        """Bytes of memory for at least `slots` addresses."""
    def allow(self, packed: bytes, now_ns: int) -> bool:
        """True when a request of this packed address (4 or 16 bytes) is within the limit; counts it.

        `now_ns` is a monotonic clock's that all sharers of the buffer read alike.
        """
