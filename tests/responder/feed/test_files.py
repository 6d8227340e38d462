"""Files that are whole or not there."""

import resource
from pathlib import Path

import pytest

from responder.files import write_file


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
