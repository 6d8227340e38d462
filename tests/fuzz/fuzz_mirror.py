"""What a CRL source sends, under arbitrary bytes: a rule, or a CRL whose rows the ledger can hold; never an exception.

Fetched from a file, chosen, validated and read for the import, as sent and as the content of a well-signed CRL.
`python -m tests.fuzz.fuzz_mirror [-max_total_time=N]`
"""

import sys
import tempfile
from pathlib import Path

from tests.fuzz.runner import run
from tests.support.mirror_mutations import CA, SEEDS, outcome, signed

_FOLDER = Path(tempfile.mkdtemp(prefix="fastocsp-fuzz-"))


def target(octets: bytes) -> None:
    """The bytes as they are, and signed as a TBSCertList."""
    for body in (octets, signed(octets)):
        outcome(body, _FOLDER / "source")


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, [*SEEDS, *map(CA.pem, SEEDS)])


if __name__ == "__main__":
    main(sys.argv[1:])
