"""The database of `openssl ca`: index.txt, one certificate a line.

Six fields between tabs: V, R or E; notAfter; revocation date with its reason; serial number in hex; file; subject.
A tab inside a field has a backslash before it; a line that begins with `#` is a comment. The revocation field is
`date[,reason[,argument]]`, where openssl's own reasons holdInstruction, keyTime and CAkeyTime carry an argument: an
object identifier, or the date since which the key is not trusted.

Any octets give an entry or a problem for each line, never an exception. Whether one bad line spoils the import is the
caller's decision; `Index.problems` is there for it.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from responder.domain.serial import serial_hex, serial_octets
from responder.domain.status import CRLReason

_FIELDS = 6
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
    """What the first field says: V, R, E."""

    GOOD = "good"
    REVOKED = "revoked"
    EXPIRED = "expired"


_STATUSES = {"V": IndexStatus.GOOD, "R": IndexStatus.REVOKED, "E": IndexStatus.EXPIRED}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One certificate; times in epoch seconds, the last three None unless it is revoked."""

    line: int
    serial: bytes
    subject: str
    not_after: int
    status: IndexStatus
    revoked_at: int | None = None
    reason: CRLReason | None = None
    invalidity_date: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be read, counted from 1, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Index:
    """A whole file."""

    entries: tuple[IndexEntry, ...]
    problems: tuple[Problem, ...]


def read_index(path: Path) -> Index:
    """Every line of the file; a serial number that is there twice is a problem of the later line."""
    entries: list[IndexEntry] = []
    problems: list[Problem] = []
    first_lines: dict[bytes, int] = {}
    with path.open("rb") as file:
        for found in iter_index(file):
            if isinstance(found, Problem):
                problems.append(found)
                continue
            first = first_lines.setdefault(found.serial, found.line)
            if first == found.line:
                entries.append(found)
            else:
                problems.append(Problem(found.line, f"serial {serial_hex(found.serial)} is already in line {first}"))
    return Index(tuple(entries), tuple(problems))


def iter_index(lines: Iterable[bytes]) -> Iterator[IndexEntry | Problem]:
    """An entry or a problem for each line that is no comment; reads as far as it is asked to."""
    for number, line in enumerate(lines, 1):
        if line.startswith(b"#"):
            continue
        try:
            yield parse_line(line, number)
        except ValueError as error:
            yield Problem(number, str(error))


def parse_line(line: bytes, number: int) -> IndexEntry:
    """The entry of one line, with or without its line end; ValueError says what is wrong with it."""
    text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
    if "\0" in text:
        raise ValueError("a NUL byte")
    fields = [field.replace("\\\t", "\t") for field in _TAB.split(text)]
    if len(fields) != _FIELDS:
        raise ValueError(f"{len(fields)} fields instead of {_FIELDS}, which stand between tabs")
    kind, not_after, revocation, serial, _file, subject = fields
    if kind not in _STATUSES:
        raise ValueError(f"the first field is {kind[:20]!r}, not V, R or E")
    status = _STATUSES[kind]
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
        return revoked_at, _reason(name), None
    if not argument:
        raise ValueError(f"{name} without its argument")
    reason, is_date = pseudo
    return revoked_at, reason, parse_time(argument) if is_date else None


@lru_cache(maxsize=4096)
def parse_time(text: str) -> int:
    """Epoch seconds of a UTCTime or a GeneralizedTime, as RFC 5280 4.1.2.5 writes them: with seconds, in Z."""
    if _UTC_TIME.fullmatch(text):
        century = "19" if text >= "50" else "20"
        full = century + text
    elif _GENERALIZED_TIME.fullmatch(text):
        full = text
    else:
        raise ValueError(f"not a time: {text[:40]!r}")
    digits = (full[:4], full[4:6], full[6:8], full[8:10], full[10:12], full[12:14])
    try:
        return int(datetime.datetime(*map(int, digits), tzinfo=datetime.UTC).timestamp())  # type: ignore[arg-type, misc]
    except ValueError as error:
        raise ValueError(f"not a time: {text!r} ({error})") from error


def _reason(name: str) -> CRLReason:
    reason = CRLReason.parse(name[:40])
    if reason is CRLReason.removeFromCRL:
        raise ValueError("removeFromCRL: the hold has ended; make the line a V without revocation date")
    return reason


def _serial(text: str) -> bytes:
    if not _SERIAL.fullmatch(text):
        raise ValueError(f"not a serial number: {text[:60]!r}")
    return serial_octets(int(text, 16))
