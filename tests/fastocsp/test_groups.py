"""Groups against plain dicts, and the COPY stream cut at every octet."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.errors import WireError
from _fastocsp.groups import SnapshotReader, join_groups, merge_groups, missing_rows
from _fastocsp.values import Groups

SQL_EPOCH = 946_684_800_000_000
HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
sets = st.dictionaries(
    st.tuples(st.integers(1, 3), st.binary(min_size=1, max_size=3)),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255)),
    max_size=20,
)
Plain = dict[tuple[int, bytes], tuple[int, int]]


def groups_of(plain: Plain) -> Groups:
    """Laid out."""
    return merge_groups({}, [(1, issuer_no, serial, *value) for (issuer_no, serial), value in plain.items()])


def stream(plain: Plain) -> bytes:
    """As Postgres sends it."""
    octets = HEAD
    for (issuer_no, serial), (at, reason) in plain.items():
        micro = at * 1_000_000 - SQL_EPOCH + 999_999
        octets += struct.pack(">hihi", 4, 2, issuer_no, len(serial)) + serial
        octets += struct.pack(">iqih", 8, micro, 2, reason)
    return octets + b"\xff\xff"


@given(sets, sets)
def test_groups_are_dicts(a: Plain, b: Plain) -> None:
    """Missing is the difference, join is the union in which the first wins."""
    assert missing_rows(groups_of(a), groups_of(b)) == groups_of({key: a[key] for key in a if key not in b})
    assert join_groups(groups_of(a), groups_of(b)) == groups_of(b | a)


@given(sets)
def test_a_stream_in_any_order_gives_sorted_groups(plain: Plain) -> None:
    """Whole, and octet by octet."""
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
    drawn = {
        "random": lambda number: rng.randbytes(n),
        "counted": lambda number: (number * 3).to_bytes(4, "big")[-n:].rjust(n, b"\x01"),
        "one beginning": lambda number: (b"\x42" * n + rng.randbytes(2))[-n:],
        "crowded": lambda number: (rng.randbytes(1) if number % 50 == 0 else b"\x07") + rng.randbytes(n - 1),
    }[kind]
    plain = {(7, drawn(number)): (number, number % 11) for number in range(5000)}
    reader = SnapshotReader()
    reader.feed(stream(plain))
    assert reader.groups() == groups_of(plain)


GOOD_ROW = struct.pack(">hihi", 4, 2, 7, 2) + b"\x05\x06" + struct.pack(">iqih", 8, 0, 2, 1)


@pytest.mark.parametrize(
    "row",
    [
        struct.pack(">h", 3) + GOOD_ROW[2:],
        struct.pack(">hi", 4, 4) + GOOD_ROW[6:],
        GOOD_ROW[:8] + struct.pack(">i", 0) + GOOD_ROW[14:],
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


def test_a_stream_that_is_cut_or_longer_is_refused() -> None:
    """Every prefix lacks its end; an octet behind the end is one too many."""
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
