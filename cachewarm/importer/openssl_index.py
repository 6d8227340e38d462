"""The database of `openssl ca`: index.txt, one certificate a line.

Six fields between tabs: V, R or E; notAfter; revocation date with its reason; serial number in hex; file; subject.
A tab inside a field has a backslash before it; a line that begins with `#` is a comment. The revocation field is
`date[,reason[,argument]]`, where openssl's own reasons holdInstruction, keyTime and CAkeyTime carry an argument: an
object identifier, or the date since which the key is not trusted.

Any bytes give an entry or a problem for each line, never an exception. Whether one bad line spoils the import is the
caller's decision. Lines of the usual form are read by `_fastocsp.crl.index_lines`, which must come to the same.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from responder.domain.serial import MAX_BYTES, serial_octets
from responder.domain.status import CRLReason

_FIELDS = 6
#: Bytes; openssl's own lines have some hundreds.
LONGEST_LINE = 65536
_BLOCK = 1 << 18
_TAB = re.compile(r"(?<!\\)\t")
_SERIAL = re.compile(r"-?[0-9A-Fa-f]+", re.ASCII)
_UTC_TIME = re.compile(r"\d{12}Z", re.ASCII)
_GENERALIZED_TIME = re.compile(r"\d{14}Z", re.ASCII)
#: openssl's own reasons: what they stand for in a CRL, and whether their argument is an invalidity date.
_PSEUDO_REASONS = {
    "holdinstruction": (CRLReason.certificateHold, False),
    "keytime": (CRLReason.keyCompromise, True),
    "cakeytime": (CRLReason.cACompromise, True),
}


class IndexStatus(StrEnum):
    """Status of a line, its first field: V, R or E."""

    GOOD = "good"
    REVOKED = "revoked"
    EXPIRED = "expired"


_STATUSES = {"V": IndexStatus.GOOD, "R": IndexStatus.REVOKED, "E": IndexStatus.EXPIRED}


class IndexEntry(NamedTuple):
    """One certificate; times in epoch seconds, the last three None unless it is revoked."""

    line: int
    serial: bytes
    subject: str
    not_after: int
    status: IndexStatus
    revoked_at: int | None = None
    reason: CRLReason | None = None
    invalidity_date: int | None = None


class Problem(NamedTuple):
    """A line that cannot be imported, counted from 1, and why."""

    line: int
    reason: str


def blocks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of a file, some thousand lines at a time."""
    while block := file.read(_BLOCK):
        yield block


def iter_index(lines: Iterable[tuple[int, bytes]]) -> Iterator[IndexEntry | Problem]:
    """Yield an entry or a problem for each line, which comes with its number, that is no comment."""
    for number, line in lines:
        if line.startswith(b"#"):
            continue
        try:
            yield parse_line(line, number)
        except ValueError as error:
            yield Problem(number, str(error))


def parse_line(line: bytes, number: int) -> IndexEntry:
    """The entry of one line, with or without its line end; ValueError says what is wrong with it."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE} bytes")
    text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
    if "\0" in text:
        raise ValueError("a NUL byte")
    fields = text.split("\t")
    if "\\\t" in text:
        fields = [field.replace("\\\t", "\t") for field in _TAB.split(text)]
    if len(fields) != _FIELDS:
        raise ValueError(f"{len(fields)} fields instead of {_FIELDS}, which stand between tabs")
    kind, not_after, revocation, serial, _file, subject = fields
    status = _STATUSES.get(kind)
    if status is None:
        raise ValueError(f"the first field is {kind[:20]!r}, not V, R or E")
    if (status is IndexStatus.REVOKED) != bool(revocation):
        raise ValueError(f"the first field is {kind} and there is {'a' if revocation else 'no'} revocation date")
    revoked_at, reason, invalidity_date = parse_revocation(revocation) if revocation else (None, None, None)
    return IndexEntry(
        line=number,
        serial=_serial(serial),
        subject=subject,
        not_after=parse_time(not_after),
        status=status,
        revoked_at=revoked_at,
        reason=reason,
        invalidity_date=invalidity_date,
    )


def parse_revocation(text: str) -> tuple[int, CRLReason, int | None]:
    """Revocation time, reason and invalidity date of `date[,reason[,argument]]`."""
    date, comma, rest = text.partition(",")
    name, _, argument = rest.partition(",")
    revoked_at = parse_time(date)
    if not comma:
        return revoked_at, CRLReason.unspecified, None
    pseudo = _PSEUDO_REASONS.get(name.lower())
    if pseudo is None:
        return revoked_at, _reason(name[:40]), None
    if not argument:
        raise ValueError(f"{name} without its argument")
    reason, is_date = pseudo
    return revoked_at, reason, parse_time(argument) if is_date else None


def parse_time(text: str) -> int:
    """Epoch seconds of a UTCTime or a GeneralizedTime, as RFC 5280 4.1.2.5 writes them: with seconds, in Z."""
    if _UTC_TIME.fullmatch(text):
        full = ("19" if text >= "50" else "20") + text
    elif _GENERALIZED_TIME.fullmatch(text):
        full = text
    else:
        raise ValueError(f"not a time: {text[:40]!r}")
    try:
        clock = datetime.time(int(full[8:10]), int(full[10:12]), int(full[12:14]))
        return _midnight(full[:8]) + 3600 * clock.hour + 60 * clock.minute + clock.second
    except ValueError as error:
        raise ValueError(f"not a time: {text!r} ({error})") from error


@lru_cache(maxsize=4096)
def _midnight(day: str) -> int:
    when = datetime.datetime(int(day[:4]), int(day[4:6]), int(day[6:]), tzinfo=datetime.UTC)
    return int(when.timestamp())


@lru_cache(maxsize=256)
def _reason(name: str) -> CRLReason:
    reason = CRLReason.parse(name)
    if reason is CRLReason.removeFromCRL:
        raise ValueError("removeFromCRL: the hold has ended; make the line a V without revocation date")
    return reason


def _serial(text: str) -> bytes:
    if not _SERIAL.fullmatch(text):
        raise ValueError(f"not a serial number: {text[:60]!r}")
    if len(text) % 2 == 0 and text[0] not in "-0" and len(text) <= 2 * MAX_BYTES:
        return bytes.fromhex(text)
    return serial_octets(int(text, 16))
