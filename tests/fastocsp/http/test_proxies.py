"""X-Forwarded-For against the standard library's idea of addresses and networks."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.http.proxies import Proxies

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NETWORKS = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "192.0.2.128/25", "127.0.0.1/32", "2001:db8::/33")]
PEER = ipaddress.ip_address("10.0.0.1").packed
ADDRESSES = st.one_of(
    st.ip_addresses(),
    st.sampled_from(NETWORKS).flatmap(lambda network: st.ip_addresses(network=network)),
    st.ip_addresses(v=4).map(lambda four: ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + four.packed)),
)
HOPS = st.one_of(
    ADDRESSES.map(str),
    ADDRESSES.map(lambda address: f"[{address}]"),
    st.tuples(ADDRESSES, st.integers(0, 100000)).map(lambda pair: f"{pair[0]}:{pair[1]}"),
    st.tuples(ADDRESSES, st.integers(0, 100000)).map(lambda pair: f"[{pair[0]}]:{pair[1]}"),
    ADDRESSES.map(lambda address: f"{address}%eth0"),
    st.text("0123456789abcdef:.%[] \t", max_size=24),
    st.sampled_from(
        ["unknown", "", "_hidden", "1.2.3", "01.2.3.4", "1.2.3.4:80", "::1%", "1.2.3.4%x", "::%a%b", "9" * 70]
    ),
)


def proxies(networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> Proxies:
    """The same networks, packed."""
    return Proxies((network.network_address.packed, network.prefixlen) for network in networks)


def trusted(address: Address) -> bool:
    """By the standard library."""
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in NETWORKS)


def without_port(hop: str) -> str:
    """The address in `address`, `[address]`, `[address]:port` and, for IPv4, `address:port`."""
    bracketed = re.fullmatch(r"\[([^]]*:[^]]*)\](:[0-9]{1,5})?", hop)
    four = re.fullmatch(r"([0-9.]*\.[0-9.]*):[0-9]{1,5}", hop)
    return bracketed[1] if bracketed else four[1] if four else hop


def named(hops: list[str]) -> bytes:
    """The client of this list, by the standard library."""
    for hop in reversed(",".join(hops).split(",")):
        try:
            address = ipaddress.ip_address(without_port(hop.strip(" \t")))
        except ValueError:
            break
        if not trusted(ipaddress.ip_address(str(address).partition("%")[0])):
            return address.packed
    return PEER


@given(st.lists(HOPS, min_size=1, max_size=6), st.sampled_from([",", ", ", " ,\t"]))
def test_the_client_is_whom_the_standard_library_finds(hops: list[str], comma: str) -> None:
    """Any list of addresses and rubbish, from a trusted peer."""
    assert proxies(NETWORKS).client_of(comma.join(hops).encode(), PEER) == named(hops)


@given(ADDRESSES)
def test_trust_is_membership(address: Address) -> None:
    """In one of the networks; mapped IPv4 counts as IPv4."""
    assert proxies(NETWORKS).trust(address.packed) == trusted(address)


@given(st.ip_addresses(), st.data())
def test_a_network_of_any_length(address: Address, data: st.DataObject) -> None:
    """The bit behind the prefix does not count, the last one of it does."""
    bits = data.draw(st.integers(0, address.max_prefixlen))
    network = ipaddress.ip_network((address, bits), strict=False)
    made, number = proxies([network]), int(address)
    for bit in range(address.max_prefixlen):
        other = type(address)(number ^ 1 << bit)
        if getattr(other, "ipv4_mapped", None) is None:
            assert made.trust(other.packed) == (other in network)


@pytest.mark.parametrize(
    ("hop", "client"),
    [
        ("203.0.113.7:51234", "203.0.113.7"),
        ("[2001:db8:8000::1]:443", "2001:db8:8000::1"),
        ("[2001:db8:8000::1]", "2001:db8:8000::1"),
        ("[fe80::1%eth0]:9", "fe80::1"),
        ("203.0.113.7:", None),
        ("203.0.113.7:http", None),
        ("203.0.113.7:123456", None),
        ("[2001:db8:8000::1", None),
        ("[2001:db8:8000::1]443", None),
        ("[203.0.113.7]:80", None),
    ],
)
def test_port_and_brackets_are_taken_off_an_address(hop: str, client: str | None) -> None:
    """A hop that is no address ends the list, so the peer answers for it."""
    found = proxies(NETWORKS).client_of(f"198.51.100.1, {hop}".encode(), PEER)
    assert found == (PEER if client is None else ipaddress.ip_address(client).packed)


def test_a_stranger_speaks_for_nobody() -> None:
    """Neither a peer outside the networks, nor anybody without networks, nor an absent field."""
    stranger = ipaddress.ip_address("198.51.100.7").packed
    assert proxies(NETWORKS).client_of(b"203.0.113.1", stranger) == stranger
    assert proxies([]).client_of(b"203.0.113.1", PEER) == PEER
    assert proxies(NETWORKS).client_of(b"", PEER) == PEER


@pytest.mark.parametrize(("packed", "bits"), [(b"", 0), (b"12345", 8), (b"1234", 33), (b"1234", -1), (b"1" * 16, 129)])
def test_what_is_no_network(packed: bytes, bits: int) -> None:
    """Bytes and bits that do not go together."""
    with pytest.raises(ValueError, match="prefix"):
        Proxies([(packed, bits)])


@pytest.mark.parametrize("packed", [b"", b"123", b"1" * 17])
def test_what_is_no_address(packed: bytes) -> None:
    """Neither 4 nor 16 bytes."""
    with pytest.raises(ValueError, match="4 octets"):
        proxies(NETWORKS).trust(packed)
