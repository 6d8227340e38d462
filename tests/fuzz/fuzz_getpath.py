"""GET paths under arbitrary bytes: one SEQUENCE or a WireError, and what the strict reference finds is found.

`python -m tests.fuzz.fuzz_getpath [-max_total_time=N]`
"""

import base64
import sys

from _fastocsp.wire.errors import WireError
from tests.fuzz.runner import instrumented, run, seeds

with instrumented():
    from _fastocsp.http.path import decode_get
    from tests.reference import getpath as reference
    from tests.reference import tlv


def target(octets: bytes) -> None:
    """Never less than the reference, never more than one SEQUENCE."""
    try:
        expected = tlv.only(reference.decode_get(octets), tlv.SEQUENCE).der
    except WireError:
        expected = None
    try:
        read = tlv.only(decode_get(octets), tlv.SEQUENCE).der
    except WireError:
        read = None
    if expected not in (None, read):
        raise AssertionError(f"{octets!r}: {read!r}")


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, (base64.b64encode(octets) for octets in seeds("request")))


if __name__ == "__main__":
    main(sys.argv[1:])
