"""CRLs of the compiled encoder: byte for byte what cryptography's builder writes, and read back by asn1crypto."""

import hashlib
import struct

import pytest
from asn1crypto import crl as asn1
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.crl.entry_writer import EntryWriter, shard_of, time_element
from _fastocsp.crl.fields import Fields, Scope, header, tbs_frame
from _fastocsp.wire.errors import WireError
from responder.domain.serial import serial_octets
from tests.reference.crl import ECDSA_SHA256, REASONS, Entry, moment, reference_tbs
from tests.support.copy_rows import END, HEAD, column, row, stream

NAME = x509.Name.from_rfc4514_string("CN=Encoder CA,O=Example,C=DE")
OTHER = x509.Name.from_rfc4514_string("CN=Another CA,C=DE")
TURN = 2524608000  # 2050-01-01
LAST = 253402300799  # 9999-12-31 23:59:59
URL = "http://ocsp.example.com/.well-known/pki/crl/ca"
serials = (
    st.binary(min_size=1, max_size=20)
    .map(lambda octets: octets.lstrip(b"\0"))
    .filter(lambda octets: octets and int.from_bytes(octets, "big") < 1 << 159)
)
moments = st.integers(0, LAST) | st.integers(TURN - 3, TURN + 3) | st.integers(951782400 - 9, 951868800 + 9)
entries_of = st.dictionaries(
    serials, st.tuples(moments, st.sampled_from([0, *REASONS]), st.none() | moments), max_size=12
).map(lambda found: [Entry(serial, *found[serial]) for serial in sorted(found)])
scopes = st.builds(
    lambda url, only, indirect: Scope(
        url=url, only_user_certs=only == 1, only_ca_certs=only == 2, indirect_crl=indirect
    ),
    st.none() | st.just(URL),
    st.integers(0, 2),
    st.booleans(),
)
fields_of = st.builds(
    Fields,
    signature_algorithm=st.just(ECDSA_SHA256),
    issuer=st.just(NAME.public_bytes()),
    authority_key_identifier=st.binary(min_size=1, max_size=40),
    number=st.integers(0, (1 << 159) - 1),
    this_update=st.integers(0, LAST - 1),
    next_update=st.just(LAST),
    scope=scopes,
    base_number=st.none() | st.integers(0, (1 << 159) - 1),
    freshest_url=st.none() | st.just(URL + "/delta"),
    expired_since=st.none() | moments,
)


def written(octets: bytes, shards: int = 0, *, is_delta: bool = True) -> list[bytes]:
    """Parts of a whole stream."""
    writer = EntryWriter(shards, is_delta)
    writer.feed(octets)
    return [bytes(part) for part in writer.take_parts()]


def framed(fields: Fields, octets: bytes) -> bytes:
    """The TBSCertList with these entries."""
    before, after = tbs_frame(fields, len(octets))
    return before + octets + after


@given(entries_of, fields_of)
def test_tbs_is_what_cryptography_writes(entries: list[Entry], fields: Fields) -> None:
    """Every reason, date, extension and scope, to the byte."""
    [octets] = written(stream(entries))
    assert framed(fields, octets) == reference_tbs(NAME, entries, fields)


@given(entries_of)
def test_entries_are_read_back_by_asn1crypto(entries: list[Entry]) -> None:
    """Serial, time, reason and invalidity date of each, in order; unspecified has no reasonCode."""
    found = asn1.RevokedCertificates.load(element(written(stream(entries))[0]), strict=True)
    assert [read(each) for each in found] == [(e.serial, e.revoked_at, e.reason, e.invalidity_date) for e in entries]


def element(content: bytes) -> bytes:
    """The SEQUENCE OF around the entries."""
    return header(0x30, len(content)) + content


_PLAIN = Fields(
    signature_algorithm=ECDSA_SHA256,
    issuer=NAME.public_bytes(),
    authority_key_identifier=b"k",
    number=1,
    this_update=0,
    next_update=1,
    scope=Scope(),
)


def read(each: asn1.RevokedCertificate) -> tuple[bytes, int, int, int | None]:
    """The row that an entry was made of."""
    number = each["user_certificate"].native
    since = None if each.invalidity_date_value is None else seconds(each.invalidity_date_value)
    reason = 0 if each.crl_reason_value is None else int(each.crl_reason_value)
    return number.to_bytes((number.bit_length() + 7) // 8, "big"), seconds(each["revocation_date"]), reason, since


def seconds(time: object) -> int:
    """Epoch seconds of a Time."""
    return int((time.native - moment(0)).total_seconds())  # type: ignore[attr-defined]


def test_certificate_issuer_is_written_and_critical() -> None:
    """RFC 5280 5.3.3: in an indirect CRL an entry names the issuer that it and those after it belong to."""
    entries = [Entry(b"\x09", 5, 1, None, OTHER), Entry(b"\x10", 5), Entry(b"\x01", 5, 0, 7, NAME)]
    fields = Fields(**{**vars(_PLAIN), "scope": Scope(indirect_crl=True)})
    assert framed(fields, written(stream(entries))[0]) == reference_tbs(NAME, entries, fields)


def test_serial_zero_is_one_octet() -> None:
    """Cryptography's builder refuses it; a mirrored CRL may have it."""
    assert written(stream([Entry(b"\0", 0)]))[0] == bytes.fromhex("3012020100170d3730303130313030303030305a")


@pytest.mark.parametrize("number", [-1, -128, -129, -(1 << 159)])
def test_negative_serial_is_written_as_its_integer(number: int) -> None:
    """Their keys begin with 00 and are written without it."""
    entry = asn1.RevokedCertificate.load(written(stream([Entry(serial_octets(number), 5)]))[0])
    assert entry["user_certificate"].native == number


def test_stream_cut_at_every_octet_is_the_same() -> None:
    """In two pieces cut anywhere, and byte by byte."""
    entries = [Entry(b"\x01", 5, 1), Entry(b"\x02\x03", TURN, 0, 9), Entry(b"\x04", 5, 1, None, OTHER)]
    whole = stream(entries)
    expected = written(whole)
    for cut in range(len(whole) + 1):
        writer = EntryWriter(0, True)
        writer.feed(whole[:cut])
        writer.feed(whole[cut:])
        assert [bytes(part) for part in writer.take_parts()] == expected
    writer = EntryWriter(0, True)
    for octet in whole:
        writer.feed(bytes((octet,)))
    assert [bytes(part) for part in writer.take_parts()] == expected
    assert (writer.count, writer.latest) == (3, TURN)


def test_prefix_of_a_stream_is_no_stream() -> None:
    """Cut short anywhere: an error when the entries are taken, never fewer of them."""
    whole = stream([Entry(b"\x01", 5, 1), Entry(b"\x02", 6)])
    for cut in range(len(whole)):
        writer = EntryWriter()
        writer.feed(whole[:cut])
        with pytest.raises(WireError, match="cut short"):
            writer.take_parts()


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_damaged_streams_are_wire_errors(tail: bytes, at: int, octet: int) -> None:
    """Any bytes after the head, and any byte of a good stream changed: a WireError, or entries."""
    good = bytearray(stream([Entry(b"\x01", 5, 1), Entry(b"\x02\x03", TURN, 0, 9), Entry(b"\x04", 5, 1, None, OTHER)]))
    good[at % len(good)] = octet
    for octets in (HEAD + tail, bytes(good)):
        try:
            written(octets)
        except WireError:
            continue


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"PGCOPY\n\xff\r\n\1" + bytes(8), "not a binary COPY"),
        (HEAD + b"\0\4", "not a row"),
        (HEAD + b"\0\5" + column(b""), "not a row"),
        (HEAD + b"\0\5" + column(bytes(21)), "not a row"),
        (HEAD + b"\0\5" + column(b"\0\x7f"), "not a row"),
        (HEAD + b"\0\5" + column(b"\1" * 21), "not a row"),
        (stream([Entry(b"\x01", LAST + 1)]), "not a row"),
        (stream([Entry(b"\x01", -1)]), "not a row"),
        (stream([Entry(b"\x01", 1, 0, LAST + 1)]), "not a row"),
        (stream([Entry(b"\x01", 1, 7)]), "reason 7"),
        (stream([Entry(b"\x01", 1, 11)]), "reason 11"),
        (stream([Entry(b"\x01", 1), Entry(b"\x01", 2)]), "comes twice"),
        (stream([Entry(b"\x02", 1), Entry(b"\x01", 2)]), "comes twice"),
        (stream([Entry(b"\x02\x01", 1), Entry(b"\x02", 2)]), "comes twice"),
        (stream([]) + b"\0", "octets after"),
    ],
)
def test_what_may_not_stand_there_is_refused(octets: bytes, why: str) -> None:
    """Rows of another form, times nobody can write, reasons that do not exist, a serial number twice."""
    with pytest.raises(WireError, match=why):
        EntryWriter(0, True).feed(octets)


def test_remove_from_crl_is_for_deltas_alone() -> None:
    """RFC 5280 5.3.1."""
    octets = stream([Entry(b"\x01", 1, 8)])
    assert written(octets)
    with pytest.raises(WireError, match="reason 8"):
        EntryWriter().feed(octets)


@given(entries_of, st.integers(1, 9))
def test_shards_divide_the_entries(entries: list[Entry], shards: int) -> None:
    """Each entry is in the whole list and in exactly the shard of its serial, with the same bytes, in order."""
    every, *parts = written(stream(entries), shards)
    single = {entry: written(HEAD + row(entry) + END)[0] for entry in entries}
    assert every == b"".join(single.values())
    for number, part in enumerate(parts):
        assert part == b"".join(single[entry] for entry in entries if shard_of(entry.serial, shards) == number)


def test_shard_of_a_serial_never_changes() -> None:
    """Certificates name their shard's URL: these values are a promise. Reference: FNV-1a 64, then MurmurHash3's end."""
    for octets in (b"\0", b"\x01", b"\x7f" * 20, *(hashlib.sha256(bytes((n,))).digest()[:16] for n in range(50))):
        assert shard_of(octets, 4093) == reference_hash(octets) % 4093
    assert [shard_of(bytes((n,)), 16) for n in range(8)] == [11, 12, 1, 13, 12, 1, 11, 2]
    for shards in (0, 4097):
        with pytest.raises(ValueError, match="shards"):
            shard_of(b"\x01", shards)


def reference_hash(octets: bytes) -> int:
    """The hash in Python."""
    h, mask = 0xCBF29CE484222325, (1 << 64) - 1
    for octet in octets:
        h = (h ^ octet) * 0x100000001B3 & mask
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * factor & mask
    return h ^ h >> 33


def test_shards_are_of_even_size() -> None:
    """Ten thousand serials that count upwards fall into eight shards within a tenth of their share."""
    sizes = [0] * 8
    for number in range(10000):
        sizes[shard_of(struct.pack(">I", number).lstrip(b"\0") or b"\0", 8)] += 1
    assert all(1125 <= size <= 1375 for size in sizes)


@given(moments)
def test_times_are_those_of_the_calendar(when: int) -> None:
    """UTCTime up to 2049, GeneralizedTime from 2050 or when asked for."""
    long = moment(when).strftime("%Y%m%d%H%M%SZ").rjust(15, "0").encode()
    assert time_element(when, generalized=True) == b"\x18\x0f" + long
    assert time_element(when) == (b"\x17\x0d" + long[2:] if when < TURN else b"\x18\x0f" + long)


@pytest.mark.parametrize("when", [-1, LAST + 1])
def test_times_beyond_the_wire_are_refused(when: int) -> None:
    """Four digits of a year."""
    with pytest.raises(ValueError, match="no such time"):
        time_element(when)


def test_user_and_ca_certificates_only_exclude_each_other() -> None:
    """RFC 5280 5.2.5."""
    with pytest.raises(ValueError, match="no scope"):
        Scope(only_user_certs=True, only_ca_certs=True)
