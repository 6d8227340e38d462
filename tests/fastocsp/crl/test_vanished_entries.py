"""Entries of one CRL that another one lacks, against plain sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.crl.entry_reader import entries_of, vanished_entries
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


@given(sets, sets)
def test_vanished_is_what_was_revoked_and_is_not(before: dict[bytes, int], after: dict[bytes, int]) -> None:
    """Whatever the lengths; an entry that became removeFromCRL has vanished, one that was it has not."""
    found = vanished_entries(encoded(before), encoded(after), is_delta=True)
    wanted = {serial for serial, reason in before.items() if reason != 8} - {
        serial for serial, reason in after.items() if reason != 8
    }
    assert found == [(serial, 1000, before[serial], 2000) for serial in sorted(wanted)]


def test_entries_out_of_order_are_an_error() -> None:
    """And those that are cut short."""
    one, two = encoded({b"\x01": 1}), encoded({b"\x02": 1})
    assert vanished_entries(one + two, two) == [(b"\x01", 1000, 1, 2000)]
    for before, after in ((two + one, one), (one[:-1], two), (one, two[:-1])):
        with pytest.raises(WireError):
            vanished_entries(before, after)
    with pytest.raises(WireError):
        entries_of(one)
