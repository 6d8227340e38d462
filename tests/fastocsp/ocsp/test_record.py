"""The compact record."""

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.ocsp.record import (
    FLAG_EXTENDED_REVOKE,
    MAX_SIGNATURE,
    MORE_REVOKED,
    MORE_WIDE,
    RECORD_HEAD,
    Record,
    pack_record,
    seal_record,
    unpack_record,
)
from _fastocsp.wire import codes
from _fastocsp.wire.errors import MalformedRecord
from tests.fastocsp.corpus import flips, outcome, prefixes, vectors
from tests.fastocsp.strategies import DER_SIGNATURES, records
from tests.reference import record as reference

GOOD = vectors("record", "record")
PLAIN = Record(codes.SHA1, codes.GOOD, b"respondr", 100, 200, 150, signature=b"s" * 71)


@given(records())
def test_a_packed_record_unpacks_to_itself(record: Record) -> None:
    """decode(encode(x)) == x, and the reference writes and reads the same bytes."""
    octets = pack_record(record)
    kept = reference.in_halves(record.signature) or record.signature
    wide = record.produced_at - record.this_update >= 2**16 or record.next_update - record.this_update >= 2**24
    more = MORE_WIDE * wide + MORE_REVOKED * (record.status == codes.REVOKED)
    assert len(octets) == RECORD_HEAD + more + len(kept)
    assert unpack_record(octets) == record
    assert reference.pack_record(record) == octets
    assert reference.unpack_record(octets) == record


@given(records(), st.binary(max_size=MAX_SIGNATURE) | DER_SIGNATURES)
def test_a_sealed_record_differs_by_its_signature_alone(record: Record, signature: bytes) -> None:
    """As if the fields had been packed with that signature."""
    assert seal_record(pack_record(record), signature) == pack_record(record._replace(signature=signature))


def test_what_is_no_record_is_not_sealed() -> None:
    """Neither bytes that do not parse nor a signature that does not fit."""
    octets = pack_record(PLAIN)
    for cut, signature in [
        *((cut, b"s") for cut in prefixes(octets[:RECORD_HEAD])),
        (octets, bytes(MAX_SIGNATURE + 1)),
    ]:
        with pytest.raises(MalformedRecord):
            seal_record(cut, signature)


@pytest.mark.parametrize("name", GOOD)
def test_a_cut_record_reads_as_the_reference_reads_it(name: str) -> None:
    """Malformed when cut in its head, or in halves; of a signature that is whole only the key knows the length."""
    for cut in [*prefixes(GOOD[name]), GOOD[name] + b"\0"]:
        assert outcome(unpack_record, cut) == outcome(reference.unpack_record, cut)
    assert {outcome(unpack_record, cut) for cut in prefixes(GOOD[name][:RECORD_HEAD])} == {MalformedRecord}


def test_no_prefix_of_an_ecdsa_record_is_a_record() -> None:
    """Cut anywhere it is malformed, and so is one with a byte too many."""
    octets = pack_record(PLAIN._replace(signature=encode_dss_signature(2**255, 2**250)))
    cut = [*prefixes(octets), octets + b"\0"]
    assert {outcome(unpack_record, each) for each in cut} == {MalformedRecord}


@pytest.mark.parametrize("name", GOOD)
def test_flipped_records_read_as_the_reference_reads_them(name: str) -> None:
    """Every single-bit error, and every complemented byte."""
    for octets in flips(GOOD[name], (1, 2, 4, 8, 16, 32, 64, 128, 255)):
        assert outcome(unpack_record, octets) == outcome(reference.unpack_record, octets), octets.hex()


@given(st.binary(min_size=RECORD_HEAD, max_size=RECORD_HEAD + 8))
def test_random_octets_give_a_record_or_a_wire_error(octets: bytes) -> None:
    """Nothing else can come of them, and the reference agrees."""
    framed = b"\x02" + octets[1:]
    for candidate in (octets, framed):
        assert outcome(unpack_record, candidate) == outcome(reference.unpack_record, candidate)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 3},
        {"hash_algorithm": codes.HASH_NONE},
        {"hash_algorithm": 5},
        {"flags": 2},
        {"reason": 1},
        {"status": codes.REVOKED, "reason": 7},
        {"status": codes.REVOKED, "reason": 8},
        {"status": codes.REVOKED, "revocation_time": 151},
        {"revocation_time": 1},
        {"next_update": 100},
        {"produced_at": 99},
        {"seq": 2**48},
        {"seq": 2**64},
        {"generation": 2**24},
        {"next_update": 2**32},
        {"this_update": -1},
        {"status": 256},
        {"responder": b"seven.."},
        {"signature": b"s" * (MAX_SIGNATURE + 1)},
    ],
)
def test_a_record_that_contradicts_itself_is_not_packed(wrong: dict[str, object]) -> None:
    """The writer refuses what the reader would."""
    with pytest.raises(MalformedRecord):
        pack_record(PLAIN._replace(**wrong))  # type: ignore[arg-type]


def test_what_any_setting_allows_fits() -> None:
    """From the epoch to the end of 32 bits: no window is too long or too old, and those of days need less room."""
    start = 2**31
    for age, life, more in [
        (0, 1, 0),
        (2**16 - 1, 2**24 - 1, 0),
        (2**16, 1, MORE_WIDE),
        (0, 2**24, MORE_WIDE),
        (2**31 - 1, 2**31 - 1, MORE_WIDE),
    ]:
        record = PLAIN._replace(this_update=start, next_update=start + life, produced_at=start + age, signature=b"")
        assert unpack_record(pack_record(record)) == record
        assert len(pack_record(record)) == RECORD_HEAD + more
    record = PLAIN._replace(this_update=0, next_update=2**32 - 1, produced_at=2**32 - 1)
    assert unpack_record(pack_record(record)) == record


def test_times_have_one_form() -> None:
    """Those that are wide without need are malformed."""
    octets = pack_record(PLAIN._replace(signature=b""))
    wide = octets[:1] + bytes((octets[1] | 64,)) + octets[2:23] + (50).to_bytes(4) + (100).to_bytes(4)
    assert outcome(unpack_record, wide) is MalformedRecord


@pytest.mark.parametrize(("kept", "r", "s"), [(64, 2**256 - 1, 1), (96, 2**256, 1), (96, 0, 2**384 - 1)])
def test_an_ecdsa_signature_is_kept_as_its_numbers(kept: int, r: int, s: int) -> None:
    """In 64 bytes for P-256, 96 for P-384, and comes back as it was."""
    record = PLAIN._replace(signature=encode_dss_signature(r, s))
    assert len(pack_record(record)) == RECORD_HEAD + kept
    assert unpack_record(pack_record(record)) == record


@pytest.mark.parametrize(
    "signature",
    [
        "300602010102017f00",  # a byte behind it
        "30050201010200",  # an INTEGER without content
        "300702020001020101",  # 1 with a leading zero
        "30060201ff020101",  # a negative number
        "3081060201010201" + "01",  # a length in two bytes
        "3009020101020101020101",  # three numbers
        "3003020101",  # one number
        "30360231" + "01" * 49 + "020101",  # wider than P-384
        "ff" * 64,
        "",
    ],
)
def test_any_other_signature_is_kept_whole(signature: str) -> None:
    """RSA, Ed25519, and ECDSA that is not in DER: the bytes served are those that were signed."""
    octets = bytes.fromhex(signature)
    record = PLAIN._replace(signature=octets)
    assert pack_record(record)[RECORD_HEAD:] == octets
    assert unpack_record(pack_record(record)) == record


def test_a_signature_has_one_form() -> None:
    """Halves wider than needed, halves left whole and halves of any other size are malformed."""
    whole, marks = encode_dss_signature(3, 5), pack_record(PLAIN)[1]
    head = pack_record(PLAIN._replace(signature=b""))
    halves = head[:1] + bytes((marks | 2,)) + head[2:]
    assert unpack_record(halves + bytes(31) + b"\3" + bytes(31) + b"\5").signature == whole
    for wrong in (
        head + whole,
        halves + whole,
        halves + bytes(47) + b"\3" + bytes(47) + b"\5",
        halves + bytes(62),
        halves,
    ):
        assert outcome(unpack_record, wrong) is MalformedRecord


def test_the_extended_form_is_a_record() -> None:
    """CertificateHold at the epoch with the flag says `never issued`, RFC 6960 2.2."""
    record = PLAIN._replace(status=codes.REVOKED, reason=6, revocation_time=0, flags=FLAG_EXTENDED_REVOKE)
    assert unpack_record(pack_record(record)) == record


def test_the_layout_is_as_written_in_the_docstring() -> None:
    """Records by hand, so that reader and writer cannot drift together."""
    record = Record(0x82, 1, b"\x11" * 8, 2, 4, 3, 1, 1, 5, 6, 1, b"\xaa\xbb")
    head = "000005" + "000000000006" + "00000003" + "11" * 8
    assert pack_record(record).hex() == "0295" + head + "0001" + "000002" + "0000000101" + "aabb"
    good = record._replace(hash_algorithm=4, status=0, reason=255, revocation_time=0, flags=0)
    assert pack_record(good).hex() == "0230" + head + "0001" + "000002" + "aabb"
    signed = good._replace(signature=bytes.fromhex("3007020109020200ff"), next_update=2**24 + 2)
    assert pack_record(signed).hex() == "0272" + head + "00000001" + "01000000" + "00" * 31 + "09" + "00" * 31 + "ff"
