"""Files of `openssl ca` under arbitrary bytes: rows as of the parser that takes every line, the same in any two pieces.

`python -m tests.fuzz.fuzz_index_lines [-max_total_time=N]`
"""

import sys

from _fastocsp.crl.index_lines import IndexReader
from cachewarm.importer.openssl_index import IndexEntry, IndexStatus, iter_index
from cachewarm.ledger.import_lines import ImportLine, row
from tests.fuzz.runner import run

LONGEST = 200
SEEDS = [
    b"V\t20400101000000Z\t\t4E01\tunknown\t/CN=a\nE\t250101000000Z\t\t03\tunknown\t/CN=c\n",
    b"# by hand\nR\t20400101000000Z\t240229000000Z,superseded\t4E02\tunknown\t/CN=b\n",
    b"R\t491231235959Z\t500101000000Z,keyTime,20250101000000Z\t-01\tunknown\t/CN=a\\\tb\r\n",
]


def target(octets: bytes) -> None:
    """As one piece and as two, cut where the first byte says; then line by line against the other parser."""
    whole = read(octets, len(octets))
    if whole != read(octets, octets[0] % (len(octets) + 1) if octets else 0):
        raise AssertionError(f"{octets.hex()}: other rows in two pieces")
    rows, odd = whole
    numbered = {number: line for number, line in enumerate(octets.split(b"\n"), 1) if number not in dict(odd)}
    if rows != b"".join(row_of(each) for each in iter_index(numbered.items()) if isinstance(each, IndexEntry)):
        raise AssertionError(f"{octets.hex()}: other rows than those of the other parser")


def read(octets: bytes, cut: int) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The rows and the lines that are handed back."""
    reader = IndexReader(1 << 31, LONGEST)
    first, odd = reader.feed(octets[:cut])
    second, more = reader.feed(octets[cut:], True)
    return first + second, odd + more


def row_of(entry: IndexEntry) -> bytes:
    """The row of a line that the other parser read."""
    line, serial, subject, not_after, status, revoked_at, reason, date = entry
    return row(ImportLine(line, serial, subject, not_after, status is IndexStatus.GOOD, revoked_at, reason, date))


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, SEEDS)


if __name__ == "__main__":
    main(sys.argv[1:])
