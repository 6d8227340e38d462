"""The journal, cut at every byte: a restart finds a prefix, and in it everything that was acknowledged."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from _fastocsp.revoked.rows import merge_groups
from responder.feed import journal as module
from responder.feed.journal import Journal, groups_of
from responder.feed.machine import GENESIS, Position, Row, next_chain

BASE = Position(1, 4, GENESIS)
SET = merge_groups({}, [(1, 1, b"\x05" * 8, 1000, 1), (1, 2, b"\x06" * 9, 1000, 255)])


def row(number: int, before: Position) -> tuple[Row, Position]:
    """A row that revokes serial `number`, and the position after it."""
    payload = bytes((1, 0, 1, 8)) + bytes((number,)) * 8 + (1000).to_bytes(8, "big") + b"\x01" + bytes(8)
    seq = before.seq + 1
    chain = next_chain(before.chain, seq, payload)
    return Row(seq, chain, payload), Position(before.generation, seq, chain)


def filled(folder: Path, count: int) -> tuple[list[Position], list[int]]:
    """A snapshot and `count` appends: the position and the size of the log after each."""
    journal = Journal(folder)
    journal.replace(BASE, SET, {})
    positions, sizes = [BASE], [0]
    for number in range(count):
        told, position = row(number, positions[-1])
        journal.append((told,), position)
        positions.append(position)
        sizes.append((folder / "journal-1").stat().st_size)
    return positions, sizes


def test_every_cut_of_the_log_is_a_prefix_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    """Cut at any byte: exactly the appends that were whole are found, and the journal goes on from there."""
    positions, sizes = filled(tmp_path / "whole", 3)
    octets = (tmp_path / "whole" / "journal-1").read_bytes()
    for cut in range(len(octets) + 1):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "journal-1").write_bytes(octets[:cut])
        acknowledged = max(number for number, size in enumerate(sizes) if size <= cut)
        journal = Journal(folder)
        kept = journal.open()
        assert kept is not None
        assert kept.position == positions[acknowledged]
        assert len(kept.rows) == acknowledged
        assert sum(map(len, groups_of(kept).values())) == sum(map(len, SET.values())) + 13 * acknowledged
        told, position = row(9, kept.position)
        journal.append((told,), position)
        again = Journal(folder).open()
        assert again is not None
        assert again.position == position
        shutil.rmtree(folder)


def test_every_cut_of_a_snapshot_leaves_the_one_before(tmp_path: Path) -> None:
    """Half a snapshot is none; a crash between the renames of `replace` leaves a whole pair of files."""
    filled(tmp_path / "old", 2)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    journal = Journal(tmp_path / "new")
    assert journal.open() is not None
    journal.replace(Position(2, 9, b"\x09" * 32), {}, {})
    octets = (tmp_path / "new" / "snapshot-2").read_bytes()
    for cut in range(len(octets)):
        for name in ("snapshot-2.new", "snapshot-2"):
            folder = tmp_path / "cut"
            shutil.copytree(tmp_path / "old", folder)
            (folder / "journal-2").touch()
            (folder / name).write_bytes(octets[:cut])
            kept = Journal(folder).open()
            assert kept is not None
            assert kept.position.seq == BASE.seq + 2
            shutil.rmtree(folder)


def test_a_flipped_octet_ends_the_log_there(tmp_path: Path) -> None:
    """No row behind damage is believed."""
    positions, sizes = filled(tmp_path, 3)
    path = tmp_path / "journal-1"
    octets = bytearray(path.read_bytes())
    for at in range(sizes[1], sizes[2]):
        octets[at] ^= 0x40
        path.write_bytes(octets)
        kept = Journal(tmp_path).open()
        assert kept is not None
        assert kept.position == positions[1]
        octets[at] ^= 0x40


def test_a_new_generation_without_rows_is_kept(tmp_path: Path) -> None:
    """After a restart an old primary is still an old one."""
    (*_, last), _ = filled(tmp_path, 1)
    journal = Journal(tmp_path)
    journal.open()
    journal.append((), last._replace(generation=7))
    size = (tmp_path / "journal-1").stat().st_size
    journal.append((), last._replace(generation=7))
    assert (tmp_path / "journal-1").stat().st_size == size
    kept = Journal(tmp_path).open()
    assert kept is not None
    assert kept.position == last._replace(generation=7)


def test_orphans_are_kept_apart(tmp_path: Path) -> None:
    """They are part of the set, and known to be what the ledger lost."""
    orphans = {(2, 9): SET[2, 9]}
    Journal(tmp_path).replace(BASE, SET, orphans)
    kept = Journal(tmp_path).open()
    assert kept is not None
    assert (kept.groups, kept.orphans) == (SET, orphans)


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a frame is written, then the disk is full: the append fails, the next one stands where it should."""
    journal = Journal(tmp_path)
    journal.replace(BASE, SET, {})
    one, first = row(1, BASE)
    journal.append((one,), first)
    two, second = row(2, first)

    def full(fd: int, octets: bytes) -> None:
        os.write(fd, octets[: len(octets) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_whole", full)
        with pytest.raises(OSError, match="No space"):
            journal.append((two,), second)
    journal.append((two,), second)
    kept = Journal(tmp_path).open()
    assert kept is not None
    assert (kept.position, kept.rows) == (second, (one, two))


def test_snapshot_that_a_full_disk_refuses_leaves_no_file_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred attempts, as a master makes them while the disk is full; the snapshot before stays."""
    journal = Journal(tmp_path)
    journal.replace(BASE, SET, {})
    files, descriptors = set(tmp_path.iterdir()), len(list(Path("/proc/self/fd").iterdir()))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(100):
            with pytest.raises(OSError, match="No space"):
                journal.replace(BASE, SET, {})
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert {path for path in tmp_path.iterdir() if path.stat().st_size} <= files
    kept = Journal(tmp_path).open()
    assert kept is not None
    assert kept.groups == SET


def test_every_append_is_synced_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The acknowledgement that follows says: on my disk."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    _, sizes = filled(tmp_path, 2)
    assert synced == sizes[1:]


def test_an_empty_folder_knows_nothing(tmp_path: Path) -> None:
    """No journal, no position; and nothing can be appended to it."""
    journal = Journal(tmp_path)
    assert journal.open() is None
    with pytest.raises(RuntimeError):
        journal.append((), BASE)
