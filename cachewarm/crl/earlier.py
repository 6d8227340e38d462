"""CRLs that were made before, as far as the next ones are compared with them: fields, and entries piece by piece.

A CRL of a million entries has 50 MB. Of one in the ledger only what is before and after its entries is read whole;
asn1crypto reads that, as in `parse.py`. RFC 5280 5.1.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from _fastocsp.crl.entry_reader import entries_of
from cachewarm.crl.parse import ReadCRL, peek_crl, without_entries
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.crl_pieces import StoredCRL, read_pieces, read_range

#: Bytes that the fields before the entries of a CRL fit into.
HEAD = 1 << 17
_INTEGER, _SEQUENCE, _TIMES = 0x02, 0x30, (0x17, 0x18)


@dataclass(frozen=True)
class EarlierCRL:
    """The fields of a CRL, and how to read its entries in pieces, as `entry_reader.entries_of` returns them."""

    fields: ReadCRL
    entry_pieces: Callable[[], AsyncIterator[bytes | memoryview]] = field(repr=False)

    @property
    def number(self) -> int:
        """Its CRL number, 0 without one."""
        return self.fields.number or 0

    @property
    def is_delta(self) -> bool:
        """Whether it is a delta CRL."""
        return self.fields.base_number is not None


def held_crl(read: ReadCRL) -> EarlierCRL:
    """Return a CRL that is in memory as a whole."""

    async def pieces() -> AsyncIterator[memoryview]:
        yield entries_of(read.der)

    return EarlierCRL(read, pieces)


async def earlier_crl(connection: Connection, stored: StoredCRL | None) -> EarlierCRL | None:
    """Return the CRL that is published under that name; None when there is none, or bytes that are no CRL.

    A damaged one is replaced. Transient when it is replaced while it is read.
    """
    if stored is None:
        return None
    head = await read_range(connection, stored, 0, min(HEAD, stored.size))
    try:
        at = _outline(head, stored.size)
    except (IndexError, ValueError):
        return None
    after = await read_range(connection, stored, at.end, stored.size)
    bare = without_entries(head, after, at.content, at.opened, at.tbs_end - at.end)
    try:
        fields = peek_crl(bare)
    except ValueError:
        return None

    def pieces() -> AsyncIterator[bytes | memoryview]:
        return read_pieces(connection, stored, at.first, at.end)

    return EarlierCRL(fields, pieces)


class _Outline(NamedTuple):
    """Offsets in a CRL: the content of its TBSCertList, the element of its entries, the first one, both ends."""

    content: int
    opened: int
    first: int
    end: int
    tbs_end: int


def _outline(head: bytes, size: int) -> _Outline:
    """Find them in the first bytes of a CRL of that size; IndexError or ValueError when it is none."""
    # TBSCertList ::= SEQUENCE { version INTEGER OPTIONAL, signature SEQUENCE, issuer SEQUENCE, thisUpdate Time,
    #   nextUpdate Time OPTIONAL, revokedCertificates SEQUENCE OF .. OPTIONAL, crlExtensions [0] EXPLICIT .. OPTIONAL }
    whole, whole_end = _enter(head, 0)
    content, tbs_end = _enter(head, whole)
    at = content
    if head[at] == _INTEGER:
        at = _enter(head, at)[1]
    for _ in range(3):
        at = _enter(head, at)[1]
    if head[at] in _TIMES:
        at = _enter(head, at)[1]
    first = end = at
    if at < tbs_end and head[at] == _SEQUENCE:
        first, end = _enter(head, at)
    if whole_end != size or not end <= tbs_end <= size:
        raise ValueError("its lengths do not fit")
    return _Outline(content, at, first, end, tbs_end)


def _enter(der: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the element there begins and ends."""
    width = der[at + 1]
    if width < 0x80:
        return at + 2, at + 2 + width
    begin = at + 2 + (width & 0x7F)
    if begin > len(der):
        raise ValueError("a length is cut short")
    return begin, begin + int.from_bytes(der[at + 2 : begin], "big")
