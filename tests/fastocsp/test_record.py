"""The compact record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp import codes
from _fastocsp.errors import MalformedRecord
from _fastocsp.record import (
    FLAG_EXTENDED_REVOKE,
    MAX_SIGNATURE,
    RECORD_HEAD,
    Record,
    pack_record,
    seal_record,
    unpack_record,
)
from tests.fastocsp.corpus import flips, outcome, prefixes, vectors
from tests.fastocsp.strategies import records
from tests.reference import record as reference

GOOD = vectors("record", "record")
PLAIN = Record(codes.SHA1, codes.GOOD, b"respondr", 100, 200, 150, signature=b"s" * 71)


@given(records())
def test_a_packed_record_unpacks_to_itself(record: Record) -> None:
    """decode(encode(x)) == x, and the reference writes and reads the same octets."""
    octets = pack_record(record)
    assert len(octets) == RECORD_HEAD + len(record.signature)
    assert unpack_record(octets) == record
    assert reference.pack_record(record) == octets
    assert reference.unpack_record(octets) == record


@given(records(), st.binary(max_size=MAX_SIGNATURE))
def test_a_sealed_record_differs_by_its_signature_alone(record: Record, signature: bytes) -> None:
    """As if the fields had been packed with that signature."""
    assert seal_record(pack_record(record), signature) == pack_record(record._replace(signature=signature))


def test_what_is_no_record_is_not_sealed() -> None:
    """Neither octets that do not parse nor a signature that does not fit."""
    octets = pack_record(PLAIN)
    for cut, signature in [*((cut, b"s") for cut in prefixes(octets)), (octets, bytes(MAX_SIGNATURE + 1))]:
        with pytest.raises(MalformedRecord):
            seal_record(cut, signature)


@pytest.mark.parametrize("name", GOOD)
def test_no_prefix_of_a_record_is_a_record(name: str) -> None:
    """A record cut anywhere is malformed, and so is one with an octet too many."""
    cut = [*prefixes(GOOD[name]), GOOD[name] + b"\0"]
    assert {outcome(unpack_record, octets) for octets in cut} == {MalformedRecord}


@pytest.mark.parametrize("name", GOOD)
def test_flipped_records_read_as_the_reference_reads_them(name: str) -> None:
    """Every single-bit error, and every complemented octet."""
    for octets in flips(GOOD[name], (1, 2, 4, 8, 16, 32, 64, 128, 255)):
        assert outcome(unpack_record, octets) == outcome(reference.unpack_record, octets), octets.hex()


@given(st.binary(min_size=RECORD_HEAD, max_size=RECORD_HEAD + 8))
def test_random_octets_give_a_record_or_a_wire_error(octets: bytes) -> None:
    """Nothing else can come of them, and the reference agrees."""
    framed = b"\x01" + octets[1:5] + b"\0\0" + bytes((len(octets) - RECORD_HEAD,)) + octets[8:]
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
        {"seq": 2**64},
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


def test_the_extended_form_is_a_record() -> None:
    """CertificateHold at the epoch with the flag says `never issued`, RFC 6960 2.2."""
    record = PLAIN._replace(status=codes.REVOKED, reason=6, revocation_time=0, flags=FLAG_EXTENDED_REVOKE)
    assert unpack_record(pack_record(record)) == record


def test_the_layout_is_as_written_in_the_docstring() -> None:
    """One record by hand, so that reader and writer cannot drift together."""
    record = Record(0x82, 1, b"\x11" * 8, 2, 4, 3, 1, 1, 5, 6, 1, b"\xaa\xbb")
    by_hand = "0101820101000002" + "11" * 8 + "00000001000000020000000400000003000000050000000000000006" + "aabb"
    assert pack_record(record).hex() == by_hand
