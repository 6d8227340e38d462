"""The feed on disk: a snapshot and the rows heard since, so that a restart still knows what is revoked.

An acknowledgement says "on my disk": rows are appended and fsynced before the next question carries their seq. A
crash inside an append leaves a torn tail, which opening cuts off: it was never acknowledged. A disk that refuses (full)
leaves the tail of before. A journal that can be read and not written is what the edge answers `revoked` from; nothing
is acknowledged before it can be written. A crash inside `replace` leaves the old snapshot with its own journal or the
new one with an empty journal, since each names its epoch in the file name and the snapshot gets its name last.

snapshot-E: one JSON line {generation, seq, chain, groups, orphans: [[issuer_no, serial_len, bytes], ..], sha256}, then
rows of groups and of orphans.
journal-E: frames of length u32 | crc32 u32 | generation u64 | seq u64 | chain 32 | payload; without a payload the frame
tells of a new generation alone.
"""

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _fastocsp.revoked.ledger_wire import parse_items
from _fastocsp.wire.types import REPORTED, Groups
from responder.feed.machine import Position, Row, follows
from responder.feed.reports import is_report, merge_items, rows_of

_FRAME = struct.Struct(">II")
_ROW = struct.Struct(">QQ32s")


class RecoveredState(NamedTuple):
    """State after a restart: `rows` come after `groups`; `orphans` are those of `groups` that the ledger had lost."""

    position: Position
    groups: Groups
    rows: tuple[Row, ...]
    orphans: Groups


class Journal:
    """One folder, one writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: Why the last write failed, None after one that did not.
        self.fault: str | None = None
        self._epoch = 0
        self._generation = 0
        self._fd = -1
        self._good = 0

    def open(self) -> RecoveredState | None:
        """The newest whole snapshot and its rows, or None."""
        for path in sorted(self._folder.glob("snapshot-*"), key=_epoch_of, reverse=True):
            kept = self._load(path)
            if kept is not None:
                return kept
        return None

    def append(self, rows: tuple[Row, ...], position: Position) -> None:
        """Rows up to `position` to disk; they are there when this returns. OSError: none of them is, try again."""
        if not self._epoch:
            raise RuntimeError("no snapshot yet")
        self.require()
        if not rows and position.generation == self._generation:
            return
        told = rows or (Row(position.seq, position.chain, b""),)
        octets = b"".join(_framed(position.generation, row) for row in told)
        with self._noting():
            try:
                os.truncate(self._fd, self._good)
                os.lseek(self._fd, self._good, os.SEEK_SET)
                _write_whole(self._fd, octets)
                os.fdatasync(self._fd)
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self._fd, self._good)
                raise
        self._good += len(octets)
        self._generation = position.generation

    def require(self) -> None:
        """Raise OSError while the journal that was read at the start cannot be opened for writing."""
        if self._epoch and self._fd < 0:
            with self._noting():
                self._fd = _open_log(self._folder / f"journal-{self._epoch}", empty=False)

    def replace(self, position: Position, groups: Groups, orphans: Groups) -> None:
        """A new snapshot and an empty journal; older ones go once both are on disk."""
        with self._noting():
            self._replace(position, groups, orphans)

    def _replace(self, position: Position, groups: Groups, orphans: Groups) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        epoch = max([self._epoch, *map(_epoch_of, self._folder.glob("snapshot-*"))]) + 1
        body = b"".join(each[key] for each in (groups, orphans) for key in sorted(each))
        head = {
            "generation": position.generation,
            "seq": position.seq,
            "chain": position.chain.hex(),
            "groups": [[*key, len(groups[key])] for key in sorted(groups)],
            "orphans": [[*key, len(orphans[key])] for key in sorted(orphans)],
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        log = _open_log(self._folder / f"journal-{epoch}", empty=True)
        path = self._folder / f"snapshot-{epoch}"
        try:
            with path.with_suffix(".new").open("wb") as file:
                file.write(json.dumps(head).encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            path.with_suffix(".new").rename(path)
            _sync_folder(self._folder)
        except OSError:  # of a full disk: what is left would keep it full, and the descriptor open
            os.close(log)
            if not path.exists():
                for left in (path.with_suffix(".new"), self._folder / f"journal-{epoch}"):
                    left.unlink(missing_ok=True)
            raise
        self._follow(epoch, log, 0, position.generation)
        self._forget_older(epoch)

    def _load(self, path: Path) -> RecoveredState | None:
        epoch = _epoch_of(path)
        try:
            line, body = path.read_bytes().split(b"\n", 1)
            head = json.loads(line)
            if hashlib.sha256(body).hexdigest() != head["sha256"]:
                return None
            groups = _cut(body, head["groups"], 0)
            orphans = _cut(body, head["orphans"], sum(map(len, groups.values())))
            position = Position(head["generation"], head["seq"], bytes.fromhex(head["chain"]))
        except (OSError, ValueError, KeyError):
            return None
        try:
            octets = (self._folder / f"journal-{epoch}").read_bytes()
        except FileNotFoundError:
            octets = b""
        except OSError:
            return None
        rows, position, good = _rows_of(octets, position)
        self._follow(epoch, self._opened(epoch), good, position.generation)
        return RecoveredState(position, groups, tuple(rows), orphans)

    def _opened(self, epoch: int) -> int:
        """Return the descriptor of that journal, whose bytes are on disk; -1 where it cannot be written."""
        try:
            log = _open_log(self._folder / f"journal-{epoch}", empty=False)
        except OSError as error:
            self.fault = str(error)
            return -1
        try:
            _sync_folder(self._folder)
        except OSError as error:
            os.close(log)
            self.fault = str(error)
            return -1
        return log

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.fault = str(error)
            raise
        self.fault = None

    def _follow(self, epoch: int, log: int, good: int, generation: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._epoch, self._fd, self._good, self._generation = epoch, log, good, generation

    def _forget_older(self, epoch: int) -> None:
        for path in (*self._folder.glob("snapshot-*"), *self._folder.glob("journal-*")):
            if _epoch_of(path) != epoch:
                path.unlink(missing_ok=True)


def peek_orphans(folder: Path) -> list[tuple[int, bytes, int, int]]:
    """(issuer_no, serial, revoked_at, reason) of every orphan on disk, beside a running agent or without one.

    FileNotFoundError where no agent has ever had a snapshot.
    """
    kept = Journal(folder).open() if any(folder.glob("snapshot-*")) else None
    if kept is None:
        raise FileNotFoundError(f"no edge has a journal in {folder}")
    items = (item for row in kept.rows for item in parse_items(row.payload))
    named = {(item[1], item[2]) for item in items if not is_report(item)}
    return [(*row[:3], row[3] & ~REPORTED) for row in rows_of(kept.orphans) if row[:2] not in named]


def groups_of(kept: RecoveredState) -> Groups:
    """The set at the kept position, rows applied."""
    return merge_items(kept.groups, [item for row in kept.rows for item in parse_items(row.payload)])


def _framed(generation: int, row: Row) -> bytes:
    frame = _ROW.pack(generation, row.seq, row.chain) + row.payload
    return _FRAME.pack(len(frame), zlib.crc32(frame)) + frame


def _rows_of(octets: bytes, position: Position) -> tuple[list[Row], Position, int]:
    """Every row that is whole and follows the one before, the position after them, and where they end."""
    rows: list[Row] = []
    at = 0
    while len(octets) - at >= _FRAME.size:
        length, crc = _FRAME.unpack_from(octets, at)
        frame = octets[at + _FRAME.size : at + _FRAME.size + length]
        if len(frame) != length or length < _ROW.size or zlib.crc32(frame) != crc:
            break
        generation, seq, chain = _ROW.unpack_from(frame)
        row = Row(seq, chain, frame[_ROW.size :])
        if row.payload and not follows(row, position.seq, position.chain):
            break
        rows += [row] if row.payload else []
        position = Position(generation, seq, chain)
        at += _FRAME.size + length
    return rows, position, at


def _cut(body: bytes, lengths: list[tuple[int, int, int]], at: int) -> Groups:
    groups = {}
    for issuer_no, serial_len, octets in lengths:
        groups[issuer_no, serial_len] = body[at : at + octets]
        at += octets
    return groups


def _open_log(path: Path, *, empty: bool) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if empty else 0), 0o600)
    try:
        os.fsync(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def _write_whole(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]


def _epoch_of(path: Path) -> int:
    suffix = path.name.rsplit("-", 1)[-1]
    return int(suffix) if suffix.isdigit() else 0


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
