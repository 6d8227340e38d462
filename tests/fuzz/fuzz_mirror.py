"""What a CRL source sends, under arbitrary bytes: a rule, or a CRL whose rows the ledger can hold; never an exception.

Fetched from a file, chosen, validated and read for the import: as sent, as the content of a well-signed CRL, and as the
dice that break a good one. `python -m tests.fuzz.fuzz_mirror [-max_total_time=N]`
"""

import random
import sys
import tempfile
from pathlib import Path

import atheris

from tests.fuzz.runner import run

with atheris.instrument_imports(include=["cachewarm.crl", "cachewarm.mirror", "asn1crypto"]):
    from tests.support.mirror_mutations import CA, SEEDS, mutated, outcome, signed

_FOLDER = Path(tempfile.mkdtemp(prefix="fastocsp-fuzz-"))


def target(octets: bytes) -> None:
    """The bytes as they are, signed as a TBSCertList, and as a seed."""
    outcome(octets, _FOLDER / "source")
    outcome(signed(octets))
    dice = random.Random(octets)
    outcome(mutated(dice, dice.choice(SEEDS)))


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, [*SEEDS, *map(CA.pem, SEEDS)])


if __name__ == "__main__":
    main(sys.argv[1:])
