"""The rate limit: exact, by address or /64, in bounded memory."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.shared.bucket import Bucket

S = 1_000_000_000
START = 5 * S
ME = b"\x7f\0\0\1"

#: Of the hash; random in production.
KEY = 0x5F0C_1D3A_9B2E_7711


def bucket(per_minute: int, slots: int = 64) -> Bucket:
    """With memory of its own."""
    return Bucket(bytearray(Bucket.size(slots)), per_minute, KEY)


def packed(address: str) -> bytes:
    """The bytes of an address."""
    return ipaddress.ip_address(address).packed


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 1000, 59999])
def test_exactly_the_limit_is_let_through_at_once(limit: int) -> None:
    """And not one more until one has come back."""
    limited = bucket(limit)
    assert sum(limited.allow(ME, START) for _ in range(limit + 10)) == limit
    interval = 60 * S // limit
    assert not limited.allow(ME, START + interval - 1)
    assert limited.allow(ME, START + interval)
    assert not limited.allow(ME, START + interval)


def test_all_comes_back_in_a_minute() -> None:
    """However much was asked for in vain meanwhile, and no more than all."""
    limited = bucket(20)
    for now in (START, START + 60 * S, START + 500 * S):
        assert sum(limited.allow(ME, now) for _ in range(100)) == 20


@given(st.lists(st.integers(0, 20 * S), max_size=60), st.integers(1, 6))
def test_it_is_the_token_bucket_of_the_books(pauses: list[int], limit: int) -> None:
    """`limit` tokens, one more every minute / limit, never more than `limit`; in exact arithmetic."""
    limited, now, interval = bucket(limit), START, 60 * S // limit
    level, at = limit * interval, START
    for pause in pauses:
        now += pause
        level, at = min(limit * interval, level + now - at), now
        within = level >= interval
        level -= interval if within else 0
        assert limited.allow(ME, now) is within


def test_zero_switches_it_off() -> None:
    """No limit, and nothing is remembered."""
    memory = bytearray(Bucket.size(64))
    unlimited = Bucket(memory, 0, KEY)
    assert all(unlimited.allow(ME, START) for _ in range(5000))
    assert not any(memory[64:])  # behind the key of the hash


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("::1", "::2", True),
        ("::", "0.0.0.0", False),
        ("::fffe:10.0.0.1", "::fffe:10.0.0.2", True),
        ("1::ffff:10.0.0.1", "1::ffff:10.0.0.2", True),
        ("::a00:1", "10.0.0.1", False),
        ("0:0:a00:1::", "10.0.0.1", False),
    ],
)
def test_who_counts_as_one(one: str, other: str, *, same: bool) -> None:
    """IPv4 by address, mapped or not; IPv6 by /64."""
    limited = bucket(1)
    assert limited.allow(packed(one), START)
    assert limited.allow(packed(other), START) is not same


@pytest.mark.parametrize("octets", [b"", b"\1" * 3, b"\1" * 5, b"\1" * 8, b"\1" * 15, b"\1" * 17])
def test_only_addresses_are_addresses(octets: bytes) -> None:
    """4 or 16 bytes."""
    with pytest.raises(ValueError, match="4 octets"):
        bucket(1).allow(octets, START)


@pytest.mark.parametrize("size", [0, 63, 64, 192 + 64, 320 + 64])
def test_the_memory_is_a_power_of_two_of_sets(size: int) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="power of two"):
        Bucket(bytearray(size), 1, KEY)


@pytest.mark.parametrize(("slots", "octets"), [(1, 64), (4, 64), (5, 128), (65536, 1 << 20), (65537, 2 << 20)])
def test_the_size_is_enough(slots: int, octets: int) -> None:
    """At least so many addresses of 16 bytes."""
    assert Bucket.size(slots) == 64 + octets


def test_a_full_set_forgets_who_used_least() -> None:
    """Four addresses fit a set; a fifth takes the place of the one whose use is longest over, not of the busy ones."""
    limited = bucket(10, 4)
    busy = [packed(f"10.0.0.{n}") for n in range(3)]
    for address in busy:
        assert sum(limited.allow(address, START) for _ in range(20)) == 10
    for n in range(50):
        assert limited.allow(packed(f"10.1.0.{n}"), START + n)
    assert [limited.allow(address, START + 50) for address in busy] == [False] * 3


def test_a_flood_of_addresses_lets_everybody_ask() -> None:
    """Ten times more addresses than memory: nobody who is within the limit is refused."""
    limited = bucket(3, 64)
    for n in range(640):
        assert all(limited.allow(packed(f"10.0.{n // 256}.{n % 256}"), START) for _ in range(3))


def test_a_48_may_send_sixteen_times_what_a_64_may() -> None:
    """However many /64s it has; another /48 is not affected."""
    limited = bucket(5, 4096)
    allowed = sum(limited.allow(packed(f"2001:db8:1:{n:x}::1"), START) for n in range(500))
    assert allowed == 5 * 16
    assert limited.allow(packed("2001:db8:2::1"), START)
    assert limited.allow(ME, START)


def test_clients_that_share_a_set_in_one_memory_do_not_in_the_next() -> None:
    """The sets depend on a random key, so addresses found to evict a victim are of no use after a restart.

    Sixteen sets of four: the addresses that make a victim's use forgotten are searched one by one.
    """
    victim, rivals = packed("2001:db8::1"), [packed(f"2001:db8:{n:x}::1") for n in range(1, 400)]

    def sharing(limited: Bucket) -> set[bytes]:
        """Rivals in the victim's set: with three of them and a fifth the victim is given up."""
        found = set()
        for rival in rivals:
            memory = bytearray(shared)
            mine = Bucket(memory, 10, KEY)
            assert mine.allow(victim, START)
            before = bytes(memory)
            mine.allow(rival, START)
            changed = {at // 64 for at in range(64, len(memory)) if memory[at] != before[at]}
            used = {at // 64 for at in range(64, len(before)) if before[at]}
            if changed & used:
                found.add(rival)
        return found

    found = []
    for number in range(2):
        shared = bytearray(Bucket.size(64))
        found.append(sharing(Bucket(shared, 10, KEY + 2 * number)))
    assert all(found)
    assert found[0] != found[1]


def test_sharers_of_the_memory_have_one_key() -> None:
    """Each worker counts the same client in the same place."""
    memory = bytearray(Bucket.size(64))
    one, other = Bucket(memory, 3, KEY), Bucket(memory, 3, KEY + 2)
    assert [limited.allow(ME, START) for limited in (one, other, one, other)] == [True, True, True, False]
