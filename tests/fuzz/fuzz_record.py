"""Compact records under arbitrary bytes: read as the reference reads them, and packed to the same bytes.

`python -m tests.fuzz.fuzz_record [-max_total_time=N]`
"""

import sys

from _fastocsp.ocsp.record import pack_record, unpack_record
from _fastocsp.wire.errors import WireError
from tests.fuzz.runner import framed, instrumented, run, seeds

with instrumented():
    from tests.reference import record as reference


def target(octets: bytes) -> None:
    """The bytes as they are, and in a right frame."""
    compare(octets)
    compare(framed(octets))


def compare(octets: bytes) -> None:
    """A record, or malformed for both."""
    try:
        expected = reference.unpack_record(octets)
    except WireError:
        expected = None
    try:
        read = unpack_record(octets)
    except WireError:
        read = None
    if read != expected or (read is not None and pack_record(read) != octets):
        raise AssertionError(f"{octets.hex()}: {read} is not {expected}")


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, seeds("record"))


if __name__ == "__main__":
    main(sys.argv[1:])
