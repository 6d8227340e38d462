"""The feed on disk: a snapshot and the rows heard since, so that a restart still knows what is revoked.

An acknowledgement says "on my disk": rows are appended and fsynced before the next question carries their seq. A
crash inside an append leaves a torn tail, which opening cuts off: it was never acknowledged. A crash between the two
renames of `replace` leaves the old snapshot with its own journal, since each names its epoch in the file name.

snapshot-E: one JSON line {generation, seq, chain, groups: [[issuer_no, serial_len, octets], ..], sha256}, then rows.
journal-E: frames of length u32 | crc32 u32 | generation u64 | seq u64 | chain 32 | payload.
"""

import hashlib
import json
import os
import struct
import zlib
from pathlib import Path
from typing import IO, NamedTuple

from _fastocsp.revoked import merge_groups, parse_items
from _fastocsp.values import Groups
from responder.feed.machine import Position, Row

_FRAME = struct.Struct(">II")
_ROW = struct.Struct(">QQ32s")


class Kept(NamedTuple):
    """What a restart finds."""

    position: Position
    groups: Groups
    rows: tuple[Row, ...]


class Journal:
    """One folder, one writer."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._epoch = 0
        self._log: IO[bytes] | None = None

    def open(self) -> Kept | None:
        """The newest whole snapshot and its rows, or None."""
        for path in sorted(self._folder.glob("snapshot-*"), key=_epoch_of, reverse=True):
            kept = self._load(path)
            if kept is not None:
                return kept
        return None

    def append(self, rows: tuple[Row, ...], generation: int) -> None:
        """Rows to disk; they are there when this returns."""
        if self._log is None:
            raise RuntimeError("no snapshot yet")
        for row in rows:
            frame = _ROW.pack(generation, row.seq, row.chain) + row.payload
            self._log.write(_FRAME.pack(len(frame), zlib.crc32(frame)) + frame)
        self._log.flush()
        os.fdatasync(self._log.fileno())

    def replace(self, position: Position, groups: Groups) -> None:
        """A new snapshot and an empty journal; older ones go once both are on disk."""
        epoch = max([self._epoch, *map(_epoch_of, self._folder.glob("snapshot-*"))]) + 1
        body = b"".join(groups[key] for key in sorted(groups))
        head = {
            "generation": position.generation,
            "seq": position.seq,
            "chain": position.chain.hex(),
            "groups": [[*key, len(groups[key])] for key in sorted(groups)],
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        self._start_log(epoch, truncate=True)
        path = self._folder / f"snapshot-{epoch}"
        with path.with_suffix(".new").open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        path.with_suffix(".new").rename(path)
        _sync_folder(self._folder)
        self._epoch = epoch
        self._forget_older(epoch)

    def _load(self, path: Path) -> Kept | None:
        epoch = _epoch_of(path)
        try:
            line, body = path.read_bytes().split(b"\n", 1)
            head = json.loads(line)
            if hashlib.sha256(body).hexdigest() != head["sha256"]:
                return None
            groups, at = {}, 0
            for issuer_no, serial_len, octets in head["groups"]:
                groups[issuer_no, serial_len] = body[at : at + octets]
                at += octets
            position = Position(head["generation"], head["seq"], bytes.fromhex(head["chain"]))
        except (OSError, ValueError, KeyError):
            return None
        self._epoch = epoch
        rows, generation = self._read_log(epoch, position.generation)
        self._start_log(epoch, truncate=False)
        if rows:
            position = Position(generation, rows[-1].seq, rows[-1].chain)
        return Kept(position, groups, tuple(rows))

    def _read_log(self, epoch: int, generation: int) -> tuple[list[Row], int]:
        path = self._folder / f"journal-{epoch}"
        octets = path.read_bytes() if path.exists() else b""
        rows, at = [], 0
        while len(octets) - at >= _FRAME.size:
            length, crc = _FRAME.unpack_from(octets, at)
            frame = octets[at + _FRAME.size : at + _FRAME.size + length]
            if len(frame) != length or length < _ROW.size or zlib.crc32(frame) != crc:
                break
            generation, seq, chain = _ROW.unpack_from(frame)
            rows.append(Row(seq, chain, frame[_ROW.size :]))
            at += _FRAME.size + length
        if at < len(octets):
            os.truncate(path, at)
        return rows, generation

    def _start_log(self, epoch: int, *, truncate: bool) -> None:
        if self._log is not None:
            self._log.close()
        self._log = (self._folder / f"journal-{epoch}").open("wb" if truncate else "ab")
        os.fsync(self._log.fileno())

    def _forget_older(self, epoch: int) -> None:
        for path in (*self._folder.glob("snapshot-*"), *self._folder.glob("journal-*")):
            if _epoch_of(path) != epoch:
                path.unlink(missing_ok=True)


def groups_of(kept: Kept) -> Groups:
    """The set at the kept position, rows applied."""
    return merge_groups(kept.groups, [item for row in kept.rows for item in parse_items(row.payload)])


def _epoch_of(path: Path) -> int:
    suffix = path.name.rsplit("-", 1)[-1]
    return int(suffix) if suffix.isdigit() else 0


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
