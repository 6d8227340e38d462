"""The connections that the full HTTP parser serves: bounded in all, the longest idle ones go first.

They count for their address in the connection loop, which has one budget per address for these and its own, and calls
for one of them to be given up when a client needs room.
"""

import ipaddress
from collections.abc import Iterable
from typing import Protocol

#: Slot and generation of a connection in the connection loop.
Place = tuple[int, int]


class ColdConnection(Protocol):
    """A connection that can be closed."""

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
    """Connections of one worker with the full parser."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._all: dict[ColdConnection, tuple[Place, bytes]] = {}

    def make_room(self) -> bool:
        """Give up idle connections until one more is within the bound; False when none is idle."""
        return len(self._all) < self._total or _give_up_longest_idle(self._all)

    def add(self, connection: ColdConnection, place: Place, address: bytes) -> None:
        """Count this connection of a client whose address is `address_of` its peer."""
        self._all[connection] = place, address

    def remove(self, connection: ColdConnection) -> None:
        """Remove a connection that has ended."""
        self._all.pop(connection, None)

    def give_up_one_like(self, place: Place) -> bool:
        """Give up the longest idle connection of the address of the one at `place`; False when none is idle."""
        address = next((address for at, address in self._all.values() if at == place), None)
        return _give_up_longest_idle([each for each, (_, other) in self._all.items() if other == address])


def _give_up_longest_idle(connections: Iterable[ColdConnection]) -> bool:
    idle = [(each.idle_since, at, each) for at, each in enumerate(connections) if each.idle_since is not None]
    if not idle:
        return False
    min(idle)[2].give_up()
    return True
