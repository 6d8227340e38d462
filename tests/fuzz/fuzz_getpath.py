"""GET paths under arbitrary octets: one SEQUENCE or a WireError, and what the strict reference finds is found.

`python -m tests.fuzz.fuzz_getpath [-max_total_time=N]`
"""

import base64
import sys

from _fastocsp.errors import WireError
from _fastocsp.getpath import decode_get
from tests.fuzz.runner import run, seeds
from tests.reference import getpath as reference
from tests.reference import tlv


def target(octets: bytes) -> None:
    """Never less than the reference, never more than one SEQUENCE."""
    try:
        expected = tlv.only(reference.decode_get(octets), tlv.SEQUENCE).der
    except WireError:
        expected = None
    read = decode_get(octets)
    tlv.only(read, tlv.SEQUENCE)
    if expected not in (None, read):
        raise AssertionError(f"{octets!r}: {read.hex()}")


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, (base64.b64encode(octets) for octets in seeds("request")))


if __name__ == "__main__":
    main(sys.argv[1:])
