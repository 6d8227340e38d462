"""Files that are whole or not there."""

import resource
from pathlib import Path

import pytest

from responder.files import map_file, write_file


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """A file that grows past what is allowed, as on a full disk: the old one stays, and no part of the new one."""
    path = tmp_path / "catalog.json"
    write_file(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_file(path, bytes(2 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("catalog.json", b"old")]


def test_blocks_of_a_shared_file_are_allocated_before_it_is_mapped(tmp_path: Path) -> None:
    """A sparse file on a disk that fills up would end whoever writes to its memory, by SIGBUS."""
    size = 1 << 20
    map_file(tmp_path / "page", size).close()
    stat = (tmp_path / "page").stat()
    assert (stat.st_size, stat.st_blocks * 512 >= size) == (size, True)
