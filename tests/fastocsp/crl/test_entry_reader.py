"""Entries of others' CRLs: the same as `cryptography` reads, whole, in pieces, cut and flipped."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from asn1crypto import crl as asn1
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from _fastocsp.crl.entry_comparison import EntryComparison, summarize_entries
from _fastocsp.crl.entry_reader import EntryReader, entries_of
from _fastocsp.wire.errors import WireError
from tests.support.foreign_ca import HOLD, REMOVED, REVOKED_AT, STOLEN, ForeignCA

CA = ForeignCA()
FAR = 1 << 40
REVOKED = int(REVOKED_AT.timestamp())
REASONS = {None: 0, STOLEN: 1, HOLD: 6, x509.ReasonFlags.aa_compromise: 10}
MOMENTS = st.integers(1, 10_413_792_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None))


class Row(NamedTuple):
    """One row of the stream."""

    serial: int
    revoked_at: int
    reason: int
    invalidity_date: int | None


def read(der: bytes, room: int = 1 << 18, latest: int = FAR, *, is_delta: bool = False) -> bytes:
    """The whole stream, taken in pieces of that size."""
    reader, octets = EntryReader(der, latest, is_delta), b""
    while piece := reader.read(room):
        assert len(piece) <= max(room, 1024)
        octets += piece
    return octets


def rows(octets: bytes) -> Iterator[Row]:
    """What Postgres would make of it."""
    assert octets[:19] == b"PGCOPY\n\xff\r\n\0" + bytes(8)
    at = 19
    while octets[at : at + 2] != b"\xff\xff":
        columns, at = [], at + 2
        begin = at + 4
        for _ in range(4):
            (size,) = struct.unpack_from(">i", octets, at)
            columns.append(None if size < 0 else int.from_bytes(octets[at + 4 : at + 4 + size]))
            at += 4 + max(size, 0)
        serial, revoked_at, reason, date = columns
        assert serial is not None
        if octets[begin] == 0 and octets[begin - 1] > 1:  # the key of a negative number
            serial = int.from_bytes(octets[begin + 1 : begin + octets[begin - 1]], signed=True)
        assert revoked_at is not None
        assert reason is not None
        yield Row(serial, revoked_at, reason, date)
    assert at + 2 == len(octets)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.integers(1, 2**159 - 1), st.sampled_from(list(REASONS)), max_size=40),
    MOMENTS,
    st.one_of(st.none(), MOMENTS),
)
def test_entries_are_what_cryptography_reads(
    entries: dict[int, x509.ReasonFlags | None], revoked_at: datetime, date: datetime | None
) -> None:
    """Serial, time, reason, invalidity date; the same in pieces of any size."""
    more = () if date is None else ((x509.InvalidityDate(date), False),)
    der = CA.crl(1, entries, revoked_at=revoked_at.replace(tzinfo=UTC), entry_more=more)
    expected = [
        Row(
            entry.serial_number,
            int(entry.revocation_date_utc.timestamp()),
            REASONS[entries[entry.serial_number]],
            None if date is None else int(date.replace(tzinfo=UTC).timestamp()),
        )
        for entry in x509.load_der_x509_crl(der)
    ]
    octets = read(der)
    assert list(rows(octets)) == expected
    assert read(der, 1) == octets


def test_a_time_past_the_latest_is_the_latest() -> None:
    """And no time lies before 1970."""
    der = CA.crl(1, {1: None}, revoked_at=datetime(2030, 1, 1, tzinfo=UTC))
    assert [row.revoked_at for row in rows(read(der, latest=1000))] == [1000]
    der = CA.crl(1, {1: None}, revoked_at=datetime(1955, 1, 1, tzinfo=UTC))
    assert [row.revoked_at for row in rows(read(der))] == [0]


def test_remove_from_crl_outside_a_delta_is_a_revocation() -> None:
    """Reason 8 is read in a delta; in a complete CRL the entry is revoked, unspecified."""
    der = CA.crl(2, {1: REMOVED}, base=1)
    assert [row.reason for row in rows(read(der, is_delta=True))] == [8]
    assert [row.reason for row in rows(read(der))] == [0]


@pytest.mark.parametrize("size", [0, 3])
def test_every_prefix_is_refused(size: int) -> None:
    """No bytes behind the end are looked at."""
    der = CA.crl(1, dict.fromkeys(range(1, size + 1), STOLEN))
    assert len(list(rows(read(der)))) == size
    for end in range(len(der)):
        with pytest.raises(WireError):
            read(der[:end])
    with pytest.raises(WireError):
        read(der + b"\0")


def test_flipped_octets_give_rows_or_a_wire_error() -> None:
    """Never anything else."""
    der = CA.crl(
        1, {300: STOLEN, 2**150: HOLD}, entry_more=((x509.InvalidityDate(datetime(2020, 1, 1, tzinfo=UTC)), False),)
    )
    refused = 0
    for at in range(len(der)):
        for bit in (1, 0x20, 0x80, 0xFF):
            damaged = der[:at] + bytes((der[at] ^ bit,)) + der[at + 1 :]
            try:
                list(rows(read(damaged)))
            except WireError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b"\x02\x02\x01\x2c", b"\x02\x02\x81\x2c", Row(-0x7ED4, REVOKED, 1, None)),
        (b"\x02\x02\x01\x2c", b"\x02\x02\xff\xfe", Row(-2, REVOKED, 1, None)),
        (b"\x02\x02\x01\x2c", b"\x02\x02\x00\x2c", Row(0x2C, REVOKED, 1, None)),
        (b"\x0a\x01\x01", b"\x0a\x01\x07", Row(300, REVOKED, 0, None)),
        (b"\x0a\x01\x01", b"\x0a\x01\x0b", Row(300, REVOKED, 0, None)),
        (b"\x0a\x01\x01", b"\x02\x01\x01", Row(300, REVOKED, 0, None)),
        (b"250102030405Z", b"251302030405Z", Row(300, FAR, 1, None)),
        (b"250102030405Z", b"250102250405Z", Row(300, FAR, 1, None)),
        (b"250102030405Z", b"250102030405+", Row(300, FAR, 1, None)),
        (b"250102030405Z", b"25010203040xZ", Row(300, FAR, 1, None)),
    ],
)
def test_an_odd_value_leaves_the_certificate_revoked(before: bytes, after: bytes, expected: Row) -> None:
    """Negative and padded serial numbers, reasons and times that do not exist: everything that a CertID can name."""
    der = CA.crl(1, {300: STOLEN})
    assert der.count(before) == 1
    assert list(rows(read(der.replace(before, after)))) == [expected]


def test_a_serial_of_over_20_bytes_is_skipped_and_counted() -> None:
    """The entries around it are read; the stream of a CRL with nothing else is empty and well formed."""
    der = with_serial(CA.crl(1, {5: STOLEN, 300: STOLEN, 6: None}), 300, 1 << 160)
    reader = EntryReader(der, FAR)
    assert [row.serial for row in rows(reader.read())] == [5, 6]
    assert (reader.count, reader.skipped) == (2, 1)
    assert list(rows(read(with_serial(CA.crl(1, {300: STOLEN}), 300, 1 << 160)))) == []


@pytest.mark.parametrize("date", [datetime(9999, 12, 31), datetime(1955, 1, 1)])  # noqa: DTZ001 - as the builder takes them
def test_an_invalidity_date_out_of_range_is_left_out_and_counted(date: datetime) -> None:
    """What the ledger cannot hold; the last second that it can hold is kept."""
    reader = EntryReader(CA.crl(1, {5: STOLEN}, entry_more=((x509.InvalidityDate(date), False),)), FAR)
    assert [row.invalidity_date for row in rows(reader.read())] == [None]
    assert reader.dates_dropped == 1
    last = datetime(9999, 12, 30, 23, 59, 59)  # noqa: DTZ001
    kept = read(CA.crl(1, {5: STOLEN}, entry_more=((x509.InvalidityDate(last), False),)))
    assert [row.invalidity_date for row in rows(kept)] == [int(last.replace(tzinfo=UTC).timestamp())]


def test_a_negative_serial_number_comes_first_and_keeps_its_key() -> None:
    """Entries ascend by their keys in the ledger, where a negative number begins with 00."""
    der = CA.crl(1, {299: STOLEN, 300: HOLD}).replace(b"\x02\x02\x01\x2b", b"\x02\x02\xff\xfe")
    entries = entries_of(der)
    assert summarize_entries(entries) == (2, 0, REVOKED, True)
    assert [entry[0] for entry in EntryComparison(b"").feed(entries)] == [b"\0\xfe", b"\x01\x2c"]
    assert EntryComparison(entries).feed(entries) == []


@given(st.lists(st.integers(1 << 16, 1 << 168), unique=True, max_size=20))
def test_a_summary_counts_every_entry(serials: list[int]) -> None:
    """Entries with a serial number that no certificate can have are apart, and the order is told."""
    der = CA.crl(1, dict.fromkeys(range(1000, 1000 + len(serials))))
    for number, serial in enumerate(serials, 1000):
        der = with_serial(der, number, serial)
    keys = [serial.to_bytes((serial.bit_length() + 7) // 8) for serial in serials if serial < 1 << 160]
    expected = (len(keys), len(serials) - len(keys), REVOKED if keys else 0, keys == sorted(keys))
    assert summarize_entries(entries_of(der)) == expected


def test_malformed_entries_have_no_summary() -> None:
    """WireError at the first one."""
    entries = bytes(entries_of(CA.crl(1, {300: STOLEN})))
    with pytest.raises(WireError):
        summarize_entries(entries[:-1])


def with_serial(der: bytes, old: int, new: int) -> bytes:
    """The CRL with another serial number in an entry; its signature does not matter to the reader."""
    parsed = asn1.CertificateList.load(der)
    for entry in parsed["tbs_cert_list"]["revoked_certificates"]:
        if entry["user_certificate"].native == old:
            entry["user_certificate"] = new
    return bytes(parsed.dump(force=True))
