"""Connections that were handed to the full parser are bounded like the others."""

import asyncio

from responder.worker.cold_connections import ColdConnections, address_of
from tests.attacks.cold_server import cold_server


class Connection:
    """One, idle since a moment or not at all."""

    def __init__(self, idle_since: float | None) -> None:
        self.idle_since, self.given_up = idle_since, False

    def give_up(self) -> None:
        """Remember that."""
        self.given_up = True


def test_longest_idle_connection_of_the_address_is_given_up() -> None:
    """Those of others, and those that are busy, stay; the place may be that of any connection of the address."""
    cold = ColdConnections(100)
    ours = [Connection(idle) for idle in (5.0, 3.0, None)]
    other = Connection(1.0)
    for slot, each in enumerate(ours):
        cold.add(each, (slot, 1), address_of(f"2001:db8::{slot}"))
    cold.add(other, (9, 1), address_of("2001:db8:0:1::1"))
    assert cold.give_up_one_like((2, 1))
    assert [each.given_up for each in (*ours, other)] == [False, True, False, False]
    cold.remove(ours[1])
    assert cold.give_up_one_like((2, 1))
    cold.remove(ours[0])
    assert not cold.give_up_one_like((2, 1))
    assert not cold.give_up_one_like((2, 3))


def test_busy_connections_are_not_given_up_and_the_new_one_is_refused() -> None:
    """Beyond the bound of all."""
    cold = ColdConnections(3)
    for slot in range(2):
        cold.add(Connection(None), (slot, 1), b"a")
    assert cold.make_room()
    cold.add(Connection(None), (2, 1), b"b")
    assert not cold.make_room()
    idle = Connection(1.0)
    cold.add(idle, (3, 1), b"c")
    assert cold.make_room()
    assert idle.given_up


def test_mapped_addresses_count_as_ipv4_and_zones_not_at_all() -> None:
    """As in the rate limit."""
    assert address_of("::ffff:10.0.0.1") == address_of("10.0.0.1")
    assert address_of("fe80::1%eth0") == address_of("fe80::2")
    assert address_of("2001:db8::1") != address_of("2001:db8:0:1::1")


async def test_connection_is_idle_between_requests_only() -> None:
    """From the last answer on, not within a request."""
    async with cold_server() as (port, bridge):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
        async with asyncio.timeout(5):
            while not bridge.connections or next(iter(bridge.connections)).between_requests:
                await asyncio.sleep(0.001)
            [connection] = bridge.connections
            assert connection.idle_since is None
            writer.write(b"2")
            await reader.readuntil(b"12")
            while connection.idle_since is None:
                await asyncio.sleep(0.001)
            connection.give_up()
            assert await reader.read() == b""
        writer.close()
