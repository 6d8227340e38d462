"""A file in memory without a descriptor."""

import gc
from pathlib import Path

import pytest

from _fastocsp.shared.file_map import FileMap


def test_memory_is_the_file_and_outlives_descriptor_and_name(tmp_path: Path) -> None:
    """Read-only; views keep it mapped."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 1000)
    with path.open("rb") as file:
        view = memoryview(FileMap(file.fileno(), 10_000))
    path.unlink()
    gc.collect()
    assert (len(view), view.readonly, bytes(view[9_995:])) == (10_000, True, b"56789")


def test_what_cannot_be_mapped_is_refused(tmp_path: Path) -> None:
    """An empty file, and a descriptor that is none."""
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file, pytest.raises(ValueError, match="empty"):
        FileMap(file.fileno(), 0)
    with pytest.raises(OSError, match="mmap"):
        FileMap(-1, 10)
