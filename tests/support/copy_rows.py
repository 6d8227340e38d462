"""Rows of revoked certificates as Postgres sends them: COPY TO STDOUT (FORMAT binary)."""

import struct
from collections.abc import Iterable

from asn1crypto import x509 as asn1

from tests.reference.crl import Entry

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"


def column(octets: bytes | None) -> bytes:
    """A column; None is NULL."""
    return b"\xff\xff\xff\xff" if octets is None else struct.pack(">i", len(octets)) + octets


def general_names(entry: Entry) -> bytes | None:
    """DER of the entry's certificateIssuer."""
    if entry.certificate_issuer is None:
        return None
    name = asn1.Name.load(entry.certificate_issuer.public_bytes())
    return bytes(asn1.GeneralNames([asn1.GeneralName("directory_name", name)]).dump())


def row(entry: Entry) -> bytes:
    """One row."""
    since = entry.invalidity_date
    columns = (
        entry.serial,
        struct.pack(">q", entry.revoked_at),
        struct.pack(">h", entry.reason),
        None if since is None else struct.pack(">q", since),
        general_names(entry),
    )
    return struct.pack(">h", len(columns)) + b"".join(map(column, columns))


def stream(entries: Iterable[Entry]) -> bytes:
    """All of it."""
    return HEAD + b"".join(map(row, entries)) + END
