"""The feed's items and the COPY stream of a snapshot, against plain dicts, cut at every byte, and noise."""

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.revoked.ledger_wire import SnapshotReader, parse_items
from _fastocsp.wire.errors import WireError
from _fastocsp.wire.types import Item
from tests.fastocsp.corpus import outcome, prefixes
from tests.fastocsp.revoked.test_image import items
from tests.fastocsp.revoked.test_rows import Plain, groups_of, sets

SQL_EPOCH = 946_684_800_000_000
HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def feed_item(item: Item) -> bytes:
    """One item as the ledger writes it: op | issuer | length | serial | revocation time | reason | invalidity date."""
    op, issuer_no, serial, time, reason = item
    return struct.pack(">BHB", op, issuer_no, len(serial)) + serial + struct.pack(">qBq", time, reason, 0)


feed_items = items.filter(lambda item: bool(item[2]) or item[0] <= 2)


@given(st.lists(feed_items, max_size=5))
def test_a_payload_is_its_items(listed: list[Item]) -> None:
    """decode(encode(x)) == x; a payload cut inside an item, and one with a byte more, is an error."""
    payload = b"".join(map(feed_item, listed))
    assert parse_items(payload) == listed
    ends = {sum(len(feed_item(item)) for item in listed[:n]) for n in range(len(listed))}
    for cut in prefixes(payload):
        assert (outcome(parse_items, cut) is WireError) is (len(cut) not in ends)
    assert outcome(parse_items, payload + b"\1") is WireError


@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("value", [0, 5, 21, 255])
def test_operations_and_lengths_have_bounds(at: int, value: int) -> None:
    """Operation 1..4; a serial of 1..20 bytes."""
    payload = bytearray(feed_item((1, 1, b"\1" * 20, 1, 1)))
    payload[at] = value
    if (at, value) != (3, 5):
        assert outcome(parse_items, bytes(payload)) is WireError
    assert outcome(parse_items, bytes(payload)[:-1]) is WireError


@pytest.mark.parametrize(("op", "is_read"), [(0, False), (1, True), (2, True), (3, False), (4, False)])
def test_a_fence_is_set_or_lifted_and_nothing_else(op: int, is_read: bool) -> None:
    """An empty serial number with another operation is an error."""
    read = outcome(parse_items, feed_item((op, 7, b"", 1000, 255)))
    assert read == ([(op, 7, b"", 1000, 255)] if is_read else WireError)


def test_fences_of_one_issuer_in_a_stream_are_one() -> None:
    """As no two rows of a group may have the same serial number."""
    row = struct.pack(">hihi", 4, 2, 7, 0) + struct.pack(">iqih", 8, -SQL_EPOCH, 2, 255)
    reader = SnapshotReader()
    reader.feed(HEAD + row * 3 + b"\xff\xff")
    assert reader.groups() == {(7, 0): b"\0\0\0\0\xff"}


@given(st.binary(max_size=120))
def test_noise_is_items_or_a_wire_error(octets: bytes) -> None:
    """And what is read is written back as it was, but for the high half of the times."""
    read = outcome(parse_items, octets)
    assert read is WireError or sum(len(feed_item(item)) for item in read) == len(octets)


def stream(plain: Plain) -> bytes:
    """As Postgres sends it."""
    octets = HEAD
    for (issuer_no, serial), (at, reason) in plain.items():
        micro = at * 1_000_000 - SQL_EPOCH + 999_999
        octets += struct.pack(">hihi", 4, 2, issuer_no, len(serial)) + serial
        octets += struct.pack(">iqih", 8, micro, 2, reason)
    return octets + b"\xff\xff"


@given(sets)
def test_a_stream_in_any_order_gives_sorted_groups(plain: Plain) -> None:
    """Whole, and byte by byte."""
    octets = stream(plain)
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
        reader = SnapshotReader()
        for piece in pieces:
            reader.feed(piece)
        assert reader.groups() == groups_of(plain)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 20])
@pytest.mark.parametrize("kind", ["random", "counted", "one beginning", "crowded"])
def test_many_rows_in_any_order(kind: str, n: int) -> None:
    """Serials drawn, counted, with a long beginning in common, or most of them in one place."""
    rng = random.Random(n)
    drawn: dict[str, Callable[[int], bytes]] = {
        "random": lambda _: rng.randbytes(n),
        "counted": lambda number: (number * 3).to_bytes(4, "big")[-n:].rjust(n, b"\x01"),
        "one beginning": lambda _: (b"\x42" * n + rng.randbytes(2))[-n:],
        "crowded": lambda number: (rng.randbytes(1) if number % 50 == 0 else b"\x07") + rng.randbytes(n - 1),
    }
    plain = {(7, drawn[kind](number)): (number, number % 11) for number in range(5000)}
    reader = SnapshotReader()
    reader.feed(stream(plain))
    assert reader.groups() == groups_of(plain)


GOOD_ROW = struct.pack(">hihi", 4, 2, 7, 2) + b"\x05\x06" + struct.pack(">iqih", 8, 0, 2, 1)


@pytest.mark.parametrize(
    "row",
    [
        struct.pack(">h", 3) + GOOD_ROW[2:],
        struct.pack(">hi", 4, 4) + GOOD_ROW[6:],
        GOOD_ROW[:8] + struct.pack(">i", 21) + bytes(19) + GOOD_ROW[12:],
        GOOD_ROW[:8] + struct.pack(">i", -1) + GOOD_ROW[14:],
        GOOD_ROW[:14] + struct.pack(">i", 4) + GOOD_ROW[18:],
        GOOD_ROW[:14] + struct.pack(">i", -1) + GOOD_ROW[26:],
        GOOD_ROW[:26] + struct.pack(">i", 1) + GOOD_ROW[30:],
        GOOD_ROW[:26] + struct.pack(">i", -1),
        *(GOOD_ROW[:18] + struct.pack(">q", micro) + GOOD_ROW[26:] for micro in (-(2**63), 2**63 - 1, -SQL_EPOCH - 1)),
    ],
)
def test_what_is_no_revoked_certificate_is_refused(row: bytes) -> None:
    """Other columns, lengths or times, infinite ones too."""
    SnapshotReader().feed(HEAD + GOOD_ROW + b"\xff\xff")
    with pytest.raises(WireError):
        SnapshotReader().feed(HEAD + row + bytes(40))


@given(sets, st.integers(0, 2000), st.integers(0, 255), st.binary(max_size=60))
def test_damaged_streams_are_wire_errors(plain: Plain, at: int, octet: int, tail: bytes) -> None:
    """Any byte of a good stream changed, and any bytes after the head: a WireError, or groups of whole rows."""
    changed = bytearray(stream(plain))
    changed[at % len(changed)] = octet
    for octets in (bytes(changed), HEAD + tail):
        reader = SnapshotReader()
        try:
            reader.feed(octets)
            found = reader.groups()
        except WireError:
            continue
        assert all(0 <= n <= 20 and rows and len(rows) % (n + 5) == 0 for (_, n), rows in found.items())


def test_a_stream_that_is_cut_or_longer_is_refused() -> None:
    """Every prefix lacks its end; a byte behind the end is one too many."""
    octets = stream({(1, b"\x05"): (1000, 1)})
    for cut in range(len(octets)):
        reader = SnapshotReader()
        reader.feed(octets[:cut])
        with pytest.raises(WireError):
            reader.groups()
    with pytest.raises(WireError):
        SnapshotReader().feed(octets + b"x")
    with pytest.raises(WireError):
        SnapshotReader().feed(b"x" + octets)
