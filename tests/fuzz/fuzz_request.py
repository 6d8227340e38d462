"""OCSPRequest under arbitrary bytes: the compiled parser gives what the reference gives.

`python -m tests.fuzz.fuzz_request [-max_total_time=N]`
"""

import sys

from _fastocsp.ocsp.request import parse_request
from _fastocsp.wire.errors import WireError
from tests.fuzz.runner import instrumented, run, seeds

with instrumented():
    from tests.reference import ocsp as reference


def target(octets: bytes) -> None:
    """Same value, or malformed for both."""
    try:
        expected = reference.parse_request(octets)
    except WireError:
        expected = None
    try:
        read = parse_request(octets)
    except WireError:
        read = None
    if read != expected:
        raise AssertionError(f"{octets.hex()}: {read} is not {expected}")


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, seeds("request"))


if __name__ == "__main__":
    main(sys.argv[1:])
