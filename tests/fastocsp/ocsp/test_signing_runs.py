"""Bodies of frames to a signing process: joined, split and signed in compiled code."""

import struct

import pytest

from _fastocsp.ocsp.record import Record, next_update_of, pack_record
from _fastocsp.ocsp.signing_runs import join_runs, sign_runs, split_runs
from _fastocsp.wire.errors import MalformedRecord
from tests.fastocsp.leak import template

MADE = template()
RECORD = pack_record(Record(1, 0, b"respondr", 100, 200, 150))


def test_a_body_is_each_run_behind_its_length() -> None:
    """As `struct` writes it; a body cut anywhere but between two runs is refused."""
    runs = [b"", b"a", b"b" * 300]
    body = b"".join(struct.pack(">I", len(run)) + run for run in runs)
    assert join_runs(runs) == body
    assert split_runs(body) == runs
    for cut in set(range(len(body))) - {0, 4, 9}:
        with pytest.raises(ValueError, match="a body ends within"):
            split_runs(body[:cut])


def test_each_pair_is_signed_as_the_template_states_it() -> None:
    """What is signed are the ResponseData of the template, in order."""
    serials = [bytes((0x40, n)) for n in range(3)]
    body = join_runs([run for serial in serials for run in (serial, RECORD)])
    signed = split_runs(sign_runs(body, {1: MADE}, bytes.upper))
    assert signed == [MADE.tbs(serial, RECORD).upper() for serial in serials]


@pytest.mark.parametrize(
    ("runs", "error"),
    [
        ([b"\x40"], ValueError),
        ([b"\x40", RECORD[:9]], MalformedRecord),
        ([b"\x40", pack_record(Record(2, 0, b"respondr", 100, 200, 150))], KeyError),
        ([b"\x40", pack_record(Record(1, 0, b"stranger", 100, 200, 150))], ValueError),
    ],
)
def test_what_does_not_belong_to_the_templates_is_not_signed(runs: list[bytes], error: type[Exception]) -> None:
    """A serial without a record, bytes that are no record, another hash, another responder."""
    with pytest.raises(error):
        sign_runs(join_runs(runs), {1: MADE}, bytes.upper)


def test_next_update_is_read_from_a_record() -> None:
    """Epoch seconds."""
    assert next_update_of(RECORD) == 200
    with pytest.raises(MalformedRecord):
        next_update_of(RECORD[:5])
