"""Frames between edge and signer under arbitrary bytes: split and read as the reference does.

`python -m tests.fuzz.fuzz_asking [-max_total_time=N]`
"""

import sys
from collections.abc import Callable
from typing import Any

from _fastocsp.ocsp.record import Record, pack_record
from _fastocsp.ocsp.signer_wire import (
    pack_asked,
    pack_signed,
    split_frames,
    unpack_answer_query,
    unpack_asked,
    unpack_record_query,
    unpack_signed,
    unpack_signed_answer,
)
from _fastocsp.wire.errors import WireError
from tests.fuzz.runner import instrumented, run

with instrumented():
    from tests.reference import asking as reference


def target(octets: bytes) -> None:
    """As a stream of frames, as a question, as an answer."""
    compare(octets, lambda these: split_frames(these, 9), lambda these: reference.split_frames(these, 9))
    compare(octets, unpack_asked, reference.unpack_asked)
    compare(octets, unpack_signed, reference.unpack_signed)
    for read in (unpack_answer_query, unpack_record_query, unpack_signed_answer):
        outcome(read, octets)


def compare(octets: bytes, ours: Callable[[bytes], Any], theirs: Callable[[bytes], Any]) -> None:
    """The same value, or no frame for both."""
    found = [outcome(read, octets) for read in (ours, theirs)]
    if found[0] != found[1]:
        raise AssertionError(f"{octets.hex()}: {found[0]} is not {found[1]}")


def outcome(read: Callable[[bytes], Any], octets: bytes) -> Any:
    """The value, or that there is none."""
    try:
        return read(octets)
    except WireError:
        return WireError


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    asked = pack_asked(7, 1, 2, b"s" * 16, b"n" * 32)
    signed = pack_signed(7, pack_record(Record(1, 0, b"respondr", 100, 200, 150)), b"DER")
    run(argv, target, (asked, signed, asked + signed, asked[9:], signed[9:]))


if __name__ == "__main__":
    main(sys.argv[1:])
