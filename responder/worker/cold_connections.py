"""The connections that the full HTTP parser serves: bounded per address and in all, the longest idle ones go first.

The connection loop keeps the same bounds for its own; a client that has been handed over would otherwise hold
descriptors that no bound counts.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Protocol


class ColdConnection(Protocol):
    """What is needed of a connection."""

    @property
    def idle_since(self) -> float | None:
        """Monotonic seconds since when it has been idle between requests; None while it is not."""
        ...

    def give_up(self) -> None:
        """Close it at once."""


def address_of(peer: str) -> bytes:
    """The packed IPv4 address, mapped or not, or the /64 of an IPv6 address."""
    address = ipaddress.ip_address(peer.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    packed: bytes = (mapped or address).packed
    return packed if len(packed) == 4 else packed[:8]


class ColdConnections:
    """Of one worker."""

    def __init__(self, per_address: int, total: int, is_exempt: Callable[[str], bool]) -> None:
        self._per_address, self._total, self._is_exempt = per_address, total, is_exempt
        self._of: dict[bytes, dict[ColdConnection, None]] = {}
        self._all: dict[ColdConnection, bytes] = {}

    def make_room(self, peer: str) -> bool:
        """Give up idle connections until one more of this peer is within the bounds; False when none is idle."""
        if not self._is_exempt(peer):
            ours = self._of.get(address_of(peer), {})
            if len(ours) >= self._per_address and not _give_up_longest_idle(ours):
                return False
        return len(self._all) < self._total or _give_up_longest_idle(self._all)

    def add(self, connection: ColdConnection, peer: str) -> None:
        """Count this connection."""
        address = address_of(peer)
        self._all[connection] = address
        self._of.setdefault(address, {})[connection] = None

    def remove(self, connection: ColdConnection) -> None:
        """It has ended."""
        address = self._all.pop(connection, None)
        if address is not None:
            ours = self._of[address]
            del ours[connection]
            if not ours:
                del self._of[address]


def _give_up_longest_idle(connections: Iterable[ColdConnection]) -> bool:
    idle = [(each.idle_since, at, each) for at, each in enumerate(connections) if each.idle_since is not None]
    if not idle:
        return False
    min(idle)[2].give_up()
    return True
