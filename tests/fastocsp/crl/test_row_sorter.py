"""Rows in any order become the ascending stream that the writer reads; judged by Python's own sort."""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.crl.entry_writer import EntryWriter
from _fastocsp.crl.row_sorter import RowSorter
from _fastocsp.wire.errors import WireError
from tests.reference.crl import Entry
from tests.support.copy_rows import END, HEAD, column, stream

#: Seconds from 1970 to 2000, where Postgres begins to count.
Y2K = 946684800
LAST = 253402300799
serials = st.one_of(
    st.binary(min_size=1, max_size=20).filter(lambda octets: octets[0] != 0),
    st.sampled_from([b"\0", b"\0\xff", b"\0\x80\x01"]),
    st.integers(0, 3000).map(lambda number: b"\x4e" * 12 + number.to_bytes(2)),
)
rows_of = st.lists(
    st.builds(
        Entry,
        serial=serials,
        revoked_at=st.integers(0, LAST),
        reason=st.sampled_from([0, 1, 4, 10]),
        invalidity_date=st.none() | st.integers(0, LAST),
        certificate_issuer=st.none(),
    ),
    unique_by=lambda entry: entry.serial,
    max_size=80,
)


def stored(entries: Sequence[Entry], micros: int = 0) -> bytes:
    """The stream of the ledger's own columns, so many microseconds after each second."""

    def moment(seconds: int | None) -> bytes | None:
        return None if seconds is None else struct.pack(">q", (seconds - Y2K) * 1_000_000 + micros)

    rows = (
        (each.serial, moment(each.revoked_at), struct.pack(">h", each.reason), moment(each.invalidity_date))
        for each in entries
    )
    return HEAD + b"".join(struct.pack(">h", 4) + b"".join(map(column, row)) for row in rows) + END


def is_sorted(octets: bytes, cut: int = 1 << 20, room: int = 1 << 18) -> bytes:
    """What comes out, the stream cut at that place."""
    sorter = RowSorter()
    sorter.feed(octets[:cut])
    sorter.feed(octets[cut:])
    return b"".join(iter(lambda: sorter.read(room), b""))


@given(rows_of, st.sampled_from([0, 1, 999_999]), st.integers(0, 4000))
def test_rows_come_out_ascending_in_whole_seconds(entries: list[Entry], micros: int, cut: int) -> None:
    """To the byte what the writer takes, which refuses every other order."""
    ascending = sorted(entries, key=lambda entry: entry.serial)
    found = is_sorted(stored(entries, micros), cut, 1024)
    assert found == stream(ascending)
    writer = EntryWriter()
    writer.feed(found)
    assert writer.count == len(entries)


@pytest.mark.parametrize("prefix", [b"", b"\x4e" * 17])
def test_many_rows_with_a_common_beginning_are_sorted(prefix: bytes) -> None:
    """More than are sorted by insertion, in falling order and in a mixed one."""
    numbers = [n * 7919 % 20011 for n in range(20011)]
    entries = [Entry(prefix + (n + (1 << 22)).to_bytes(3), 1000, 1) for n in numbers]
    wanted = stream(sorted(entries, key=lambda entry: entry.serial))
    assert is_sorted(stored(entries)) == wanted
    assert is_sorted(stored(sorted(entries, key=lambda entry: entry.serial, reverse=True))) == wanted


def test_equal_serials_are_found_by_the_writer() -> None:
    """They come out next to each other."""
    twice = [Entry(bytes([1 + n % 40]), 1000, 1) for n in range(41)]
    with pytest.raises(WireError, match="comes twice"):
        EntryWriter().feed(is_sorted(stored(twice)))


@pytest.mark.parametrize(
    "octets",
    [
        b"rubbish" * 9,
        stored([Entry(b"", 1000, 1)]),
        stored([Entry(bytes([1] * 22), 1000, 1)]),
        stored([Entry(b"\1", -1, 1)]),
        stored([Entry(b"\1", LAST + 1, 1)]),
        stored([Entry(b"\1", 5, 256)]),
        stream([Entry(b"\1", 5, 1)]),
        stored([]) + b"\0",
        stored([Entry(b"\1", 1000, 1)]).replace(struct.pack(">q", (1000 - Y2K) * 1_000_000), b"\x7f" + b"\xff" * 7),
    ],
)
def test_what_is_no_such_stream_is_refused(octets: bytes) -> None:
    """Other columns, serial numbers or times out of range, infinity, bytes behind the end."""
    with pytest.raises(WireError):
        RowSorter().feed(octets)


def test_rows_are_read_once_and_only_when_all_are_there() -> None:
    """A stream that is cut short gives none."""
    octets = stored([Entry(b"\1", 1000, 1)])
    sorter = RowSorter()
    sorter.feed(octets[:-1])
    with pytest.raises(WireError, match="cut short"):
        sorter.read()
    sorter.feed(octets[-1:])
    assert sorter.read() == stream([Entry(b"\1", 1000, 1)])
    assert sorter.read() == b""
    with pytest.raises(ValueError, match="already"):
        sorter.feed(octets)
