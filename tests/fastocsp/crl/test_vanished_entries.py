"""Entries of one CRL that another one lacks, against plain sets, however the earlier one is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.crl.entry_comparison import EntryComparison
from _fastocsp.crl.entry_reader import entries_of
from _fastocsp.crl.entry_writer import EntryWriter
from _fastocsp.wire.errors import WireError
from tests.reference.crl import Entry
from tests.support.copy_rows import stream

serials = st.binary(min_size=1, max_size=20).filter(lambda octets: octets[0] != 0)
sets = st.dictionaries(serials, st.sampled_from([0, 1, 6, 8]), max_size=8)


def encoded(entries: dict[bytes, int]) -> bytes:
    """As a delta has them."""
    writer = EntryWriter(is_delta=True)
    writer.feed(stream(Entry(serial, 1000, reason, 2000) for serial, reason in sorted(entries.items())))
    return bytes(writer.take_parts()[0])


def vanished(before: bytes, after: bytes, size: int, *, is_delta: bool = False) -> list[tuple[bytes, int, int, object]]:
    """Entries of `before`, which comes in pieces of that size, that `after` lacks."""
    comparison = EntryComparison(after, is_delta)
    found: list[tuple[bytes, int, int, object]] = []
    for begin in range(0, len(before), size):
        found += comparison.feed(before[begin : begin + size])
    comparison.finish()
    return found


@given(sets, sets, st.integers(1, 99))
def test_vanished_is_what_was_revoked_and_is_not(before: dict[bytes, int], after: dict[bytes, int], size: int) -> None:
    """Whatever the lengths; an entry that became removeFromCRL has vanished, one that was it has not."""
    found = vanished(encoded(before), encoded(after), size, is_delta=True)
    wanted = {serial for serial, reason in before.items() if reason != 8} - {
        serial for serial, reason in after.items() if reason != 8
    }
    assert found == [(serial, 1000, before[serial], 2000) for serial in sorted(wanted)]


@given(sets, st.integers(1, 99))
def test_entries_before_are_counted_whatever_the_pieces(before: dict[bytes, int], size: int) -> None:
    """Also those that revoke nothing."""
    octets, comparison = encoded(before), EntryComparison(b"", is_delta=True)
    for begin in range(0, len(octets), size):
        comparison.feed(octets[begin : begin + size])
    assert comparison.count == len(before)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_entries_out_of_order_are_an_error(size: int) -> None:
    """And those that are cut short."""
    one, two = encoded({b"\x01": 1}), encoded({b"\x02": 1})
    assert vanished(one + two, two, size) == [(b"\x01", 1000, 1, 2000)]
    for before, after in ((two + one, one), (one[:-1], two), (one, two[:-1])):
        with pytest.raises(WireError):
            vanished(before, after, size)
    with pytest.raises(WireError):
        entries_of(one)


def test_a_length_without_end_is_an_error_before_everything_is_read() -> None:
    """A damaged entry claims the rest of the CRL: it is not gathered."""
    comparison = EntryComparison(b"")
    with pytest.raises(WireError, match="malformed or too long"):
        comparison.feed(b"\x30\x84\x7f\xff\xff\xff" + bytes(1 << 18))


def test_a_finished_comparison_reads_nothing_and_holds_nothing() -> None:
    """The entries after can be taken then, whoever still refers to the comparison."""
    after = bytearray(encoded({b"\x01": 1}))
    comparison = EntryComparison(memoryview(after))
    with pytest.raises(BufferError):
        after.clear()
    comparison.finish()
    after.clear()
    with pytest.raises(ValueError, match="finished"):
        comparison.feed(b"")


def test_a_comparison_that_failed_reads_no_more() -> None:
    """It would compare the next entry with one in the piece that is gone."""
    one, two = encoded({b"\x01": 1}), encoded({b"\x02": 1})
    comparison = EntryComparison(b"")
    with pytest.raises(WireError):
        comparison.feed(two + one)
    with pytest.raises(ValueError, match="has failed"):
        comparison.feed(two)
