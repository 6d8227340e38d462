"""Frames between edge and signer: each reader beside its reference, on whole, cut, joined and flipped bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.ocsp.record import Record, pack_record
from _fastocsp.ocsp.signer_wire import (
    ASK_ANSWER,
    ASK_RECORD,
    DONE,
    MAX_FRAME,
    pack_answer_query,
    pack_asked,
    pack_frame,
    pack_record_query,
    pack_signed,
    pack_signed_answer,
    split_frames,
    unpack_answer_query,
    unpack_asked,
    unpack_record_query,
    unpack_signed,
    unpack_signed_answer,
)
from _fastocsp.wire.errors import WireError
from tests.fastocsp.corpus import flips, outcome, prefixes
from tests.fastocsp.strategies import records
from tests.reference import asking as reference

NUMBERS = st.integers(0, 0xFFFFFFFF)
FRAMES = st.lists(st.tuples(NUMBERS, st.integers(0, 255), st.binary(max_size=300)), max_size=6)
ASKED = st.tuples(NUMBERS, st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=20)).flatmap(
    lambda head: st.tuples(*map(st.just, head), st.binary(min_size=1, max_size=32))
)
QUESTION = pack_asked(7, 1, 2, b"\x11" * 16, b"n" * 32)
RECORD = pack_record(Record(1, 0, b"respondr", 100, 200, 150))


@given(FRAMES, st.integers(0, 8))
def test_frames_come_out_as_they_went_in(frames: list[tuple[int, int, bytes]], most: int) -> None:
    """In order, no more than wanted, and no byte is lost between two calls; the reference reads the same."""
    octets = b"".join(pack_frame(*frame) for frame in frames)
    taken, used = split_frames(octets, most)
    assert taken == frames[:most]
    assert (taken, used) == reference.split_frames(octets, most)
    assert split_frames(octets[used:], 99)[0] == frames[most:]


@given(FRAMES)
def test_frames_may_come_in_any_two_pieces(frames: list[tuple[int, int, bytes]]) -> None:
    """Split at every byte: what is not whole waits."""
    octets = b"".join(pack_frame(*frame) for frame in frames)
    for at in range(len(octets) + 1):
        first, used = split_frames(octets[:at], 99)
        second, _ = split_frames(octets[used:], 99)
        assert first + second == frames


@pytest.mark.parametrize("length", [0, 1, 4, MAX_FRAME + 1, 0xFFFFFFFF])
def test_what_cannot_become_a_frame_is_said_at_once(length: int) -> None:
    """By its length alone, also behind a good one, whose place is told."""
    octets = length.to_bytes(4, "big")
    for before in (b"", QUESTION):
        with pytest.raises(WireError) as caught:
            split_frames(before + octets, 99)
        assert caught.value.offset == len(before)


@given(st.binary(max_size=40))
def test_random_octets_split_as_the_reference_splits_them(octets: bytes) -> None:
    """With a length that is likely to be one, too."""
    for candidate in (octets, b"\0\0\0" + octets):
        assert outcome(lambda these: split_frames(these, 3), candidate) == outcome(
            lambda these: reference.split_frames(these, 3), candidate
        )


@given(ASKED)
def test_a_question_comes_out_as_it_went_in(asked: tuple[int, int, int, bytes, bytes]) -> None:
    """The connection loop writes what the signer reads, and what the reference writes."""
    frame = pack_asked(*asked)
    assert frame == reference.pack_asked(*asked)
    ((number, kind, body),), _ = split_frames(frame, 1)
    assert (number, kind) == (asked[0], 2)
    assert unpack_asked(body) == asked[1:]


def test_a_question_that_is_cut_lengthened_or_damaged_reads_as_the_reference_reads_it() -> None:
    """Never past its end: None, or other values that are there."""
    body = QUESTION[9:]
    for octets in (*prefixes(body), body + b"\0", *flips(body, tuple(range(1, 256)))):
        assert unpack_asked(octets) == reference.unpack_asked(octets), octets.hex()


@given(records(), st.binary(min_size=1, max_size=3000), NUMBERS)
def test_an_answer_comes_out_as_it_went_in(record: Record, der: bytes, number: int) -> None:
    """The signer writes what the connection loop reads."""
    octets = pack_record(record)
    ((told, kind, body),), _ = split_frames(pack_signed(number, octets, der), 1)
    assert (told, kind) == (number, DONE)
    assert unpack_signed(body) == (octets, der) == reference.unpack_signed(body)


def test_an_answer_that_is_cut_or_damaged_reads_as_the_reference_reads_it() -> None:
    """Every prefix, every bit of what is before the DER."""
    body = pack_signed(7, RECORD, b"DER")[9:]
    for octets in (*prefixes(body), *flips(body, (1, 2, 4, 8, 16, 32, 64, 128, 255))):
        assert unpack_signed(octets) == reference.unpack_signed(octets), octets.hex()


@pytest.mark.parametrize(("serial", "nonce"), [(b"", b"n"), (b"s" * 22, b"n"), (b"s", b""), (b"s", b"n" * 33)])
def test_no_question_is_written_that_would_not_be_read(serial: bytes, nonce: bytes) -> None:
    """Its fields have bounds."""
    with pytest.raises(ValueError, match="out of range"):
        pack_asked(1, 1, 1, serial, nonce)


CERT_IDS = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.binary(min_size=1, max_size=21))


@given(st.lists(CERT_IDS, min_size=1, max_size=255), st.none() | st.binary(min_size=1, max_size=128))
def test_query_for_several_certificates_comes_out_as_it_went_in(
    cert_ids: list[tuple[int, int, bytes]], nonce: bytes | None
) -> None:
    """With and without a nonce; every shorter body is refused."""
    ((number, kind, body),), _ = split_frames(pack_answer_query(7, cert_ids, nonce), 1)
    assert (number, kind) == (7, ASK_ANSWER)
    assert unpack_answer_query(body) == (cert_ids, nonce)
    for broken in (body[:-1], body + b"\0", b""):
        with pytest.raises(WireError):
            unpack_answer_query(broken)


@given(CERT_IDS)
def test_query_for_a_record_comes_out_as_it_went_in(cert_id: tuple[int, int, bytes]) -> None:
    """Serials of 1 to 21 bytes, no other."""
    ((number, kind, body),), _ = split_frames(pack_record_query(7, *cert_id), 1)
    assert (number, kind) == (7, ASK_RECORD)
    assert unpack_record_query(body) == cert_id
    for broken in (body[:3], body + bytes(21)):
        with pytest.raises(WireError):
            unpack_record_query(broken)


@given(st.lists(st.binary(max_size=1100), max_size=255), st.binary(max_size=100))
def test_signed_answer_comes_out_as_it_went_in(records: list[bytes], der: bytes) -> None:
    """Any number of records; a body that is cut inside of them is refused."""
    body = pack_signed_answer(records, der)
    assert unpack_signed_answer(body) == (tuple(records), der)
    with pytest.raises(WireError):
        unpack_signed_answer(body[: len(body) - len(der) - 1])
