"""Exports of the audit chain: JSON lines that anybody can verify without the ledger.

A row's hash covers the hash before it and every field with its length in front (migration 0003), so that a changed,
missing or added line shows. Lines cut off at the end show only against a head that was kept elsewhere.
"""

import hashlib
import json
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cachewarm.errors import Refused
from cachewarm.ledger.audit import AuditEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ExportVerdict(NamedTuple):
    """`first`: the number of the first row; `broken_at`: of the first that does not hold; (seq, hash): the last."""

    first: int
    broken_at: int | None
    seq: int
    hash: bytes


def fields_of(event: AuditEvent) -> dict[str, Any]:
    """Return a row as an export has it; `detail_text` is the text that was hashed."""
    return {
        "seq": event.seq,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": event.actor,
        "action": event.action,
        "issuer_id": event.issuer_id,
        "serial_number": None if event.serial_number is None else event.serial_number.hex(),
        "detail_text": event.detail_text,
        "prev_hash": event.prev_hash.hex(),
        "hash": event.hash.hex(),
    }


async def write_export(
    events: AsyncIterator[AuditEvent], write: Callable[[str], object], advance: Callable[[int], object]
) -> int:
    """Write a line per row, and return how many there were."""
    count = 0
    async for event in events:
        write(json.dumps(fields_of(event), ensure_ascii=False) + "\n")
        count += 1
        advance(1)
    return count


async def write_export_file(path: Path, events: AsyncIterator[AuditEvent], advance: Callable[[int], object]) -> int:
    """Write the same into a new file, which appears when it is whole. Refused when there is one of that name."""
    if path.exists():
        raise Refused(f"{path} exists: nothing is overwritten")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            count = await write_export(events, file.write, advance)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError as error:
        raise Refused(f"{path} exists: nothing is overwritten") from error
    except OSError as error:
        if error.filename is None:
            raise  # the link to Postgres, which is tried again
        raise Refused(f"{path} was not written: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            part.unlink()
    return count


def verify_export(lines: Iterable[str]) -> ExportVerdict:
    """Recompute every hash of an export. Refused when it is none, or has no rows."""
    first = last = 0
    before = b""
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            seq, stated = int(row["seq"]), bytes.fromhex(row["hash"])
            expected = _hash_of(row, seq, before or bytes.fromhex(row["prev_hash"]))
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise Refused(f"line {number} is no row of an audit export") from error
        if stated != expected or (last and seq != last + 1):
            return ExportVerdict(first or seq, min(seq, last + 1) if last else seq, last, before)
        first, last, before = first or seq, seq, stated
    if not last:
        raise Refused("the export has no rows")
    return ExportVerdict(first, None, last, before)


def _hash_of(row: dict[str, Any], seq: int, before: bytes) -> bytes:
    at = datetime.fromisoformat(row["at"]) - _EPOCH
    microseconds = (at.days * 86400 + at.seconds) * 1_000_000 + at.microseconds
    covered = [before, struct.pack(">qq", seq, microseconds)]
    covered += [_field(None if row[name] is None else row[name].encode()) for name in ("actor", "action", "issuer_id")]
    covered.append(_field(None if row["serial_number"] is None else bytes.fromhex(row["serial_number"])))
    covered.append(_field(row["detail_text"].encode()))
    return hashlib.sha256(b"".join(covered)).digest()


def _field(octets: bytes | None) -> bytes:
    return struct.pack(">i", -1 if octets is None else len(octets)) + (octets or b"")
