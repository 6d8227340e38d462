"""Groups against plain dicts, and the COPY stream cut at every octet."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.errors import WireError
from _fastocsp.groups import SnapshotReader, join_groups, merge_groups, missing_rows
from _fastocsp.values import Groups

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
        item = struct.pack(">BhB", 1, issuer_no, len(serial)) + serial + struct.pack(">qBq", at, reason, 0)
        octets += struct.pack(">hi", 1, len(item)) + item
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
