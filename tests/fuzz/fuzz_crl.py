"""COPY streams of revoked rows under arbitrary bytes: entries that asn1crypto reads, the same in any two pieces.

`python -m tests.fuzz.fuzz_crl [-max_total_time=N]`
"""

import struct
import sys

from _fastocsp.crl.entry_writer import EntryWriter
from _fastocsp.crl.fields import header
from _fastocsp.wire.errors import WireError
from tests.fuzz.runner import instrumented, run
from tests.reference.crl import Entry
from tests.support.copy_rows import END, HEAD, column, row, stream

with instrumented():
    from asn1crypto import crl as asn1

SEEDS = [
    stream([Entry(b"\x01", 5, 1), Entry(b"\x02\x03", 2524608000, 0, 9), Entry(b"\x7f" * 20, 7, 8)]),
    row(Entry(b"\x80", 5, 10, 9)) + END,
    END,
]


def target(octets: bytes) -> None:
    """The bytes as they are, after a right head, and as columns of right rows; cut where their first byte says."""
    for whole in (octets, HEAD + octets, shaped(octets)):
        read = written(whole, len(whole))
        if read != written(whole, whole[0] % (len(whole) + 1) if whole else 0):
            raise AssertionError(f"{whole.hex()}: other entries in two pieces")
        if read:
            for entry in asn1.RevokedCertificates.load(header(0x30, len(read)) + read, strict=True):
                _ = entry["user_certificate"].native, entry["revocation_date"].native


def shaped(octets: bytes) -> bytes:
    """A stream whose columns have right lengths, 32 bytes for a row, ascending by serial."""
    chunks = [octets[at : at + 32].ljust(32, b"\0") for at in range(0, len(octets), 32)]
    rows = {chunk[1 : 2 + chunk[0] % 21]: chunk for chunk in chunks}
    return HEAD + b"".join(_row(serial, rows[serial]) for serial in sorted(rows)) + END


def _row(serial: bytes, chunk: bytes) -> bytes:
    dated = chunk[26:31].rjust(8, b"\0") if chunk[25] % 2 else None
    columns = (serial, chunk[21:26].rjust(8, b"\0"), bytes((0, chunk[31] % 12)), dated, None)
    return struct.pack(">h", len(columns)) + b"".join(map(column, columns))


def written(whole: bytes, cut: int) -> bytes | None:
    """The entries, None when the bytes are no stream of them."""
    writer = EntryWriter(2, True)
    try:
        writer.feed(whole[:cut])
        writer.feed(whole[cut:])
        every, *shards = writer.take_parts()
    except WireError:
        return None
    if len(every) != sum(map(len, shards)):
        raise AssertionError(f"{whole.hex()}: the shards are not the whole")
    return bytes(every)


def main(argv: list[str]) -> None:
    """Run with libFuzzer's arguments."""
    run(argv, target, SEEDS)


if __name__ == "__main__":
    main(sys.argv[1:])
