"""CRLs of others under arbitrary bytes: rows or a WireError, the same in pieces of any size.

`python -m tests.fuzz.fuzz_crl_entries [-max_total_time=N]`
"""

import sys

from _fastocsp.crl.entry_reader import EntryReader
from _fastocsp.wire.errors import WireError
from tests.fuzz.runner import run
from tests.support.foreign_ca import HOLD, STOLEN, ForeignCA

_CA = ForeignCA()
SEEDS = [_CA.crl(1, {300: STOLEN, 2**150: HOLD}), _CA.crl(2, {}), _CA.crl(3, dict.fromkeys(range(1, 61)), base=1)]


def target(octets: bytes) -> None:
    """As a complete CRL and as a delta."""
    for is_delta in (False, True):
        if rows(octets, 1 << 16, is_delta=is_delta) != rows(octets, 1024, is_delta=is_delta):
            raise AssertionError(f"{octets.hex()}: other rows in smaller pieces")


def rows(octets: bytes, room: int, *, is_delta: bool) -> bytes | None:
    """The stream; None when the bytes are no CRL."""
    found = b""
    try:
        reader = EntryReader(octets, 1 << 33, is_delta)
        while piece := reader.read(room):
            found += piece
    except WireError:
        return None
    return found


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, SEEDS)


if __name__ == "__main__":
    main(sys.argv[1:])
