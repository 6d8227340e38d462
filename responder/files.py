"""Files of the state folder, which are replaced whole, and files of the run folder, which processes map and share."""

import mmap
import os
from pathlib import Path


def write_file(path: Path, octets: bytes, mode: int = 0o644) -> None:
    """All or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=mode)
    try:
        new.write_bytes(octets)
        new.rename(path)
    except OSError:  # of a full disk: what is left of it would keep it full
        new.unlink(missing_ok=True)
        raise


def map_file(path: Path, size: int) -> mmap.mmap:
    """Make a zeroed shared file of that size, mode 0600. Raise OSError on a full disk.

    The space is allocated here: a write into a hole of a sparse file would end the process (SIGBUS) instead.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


def open_map(path: Path, *, write: bool = False) -> mmap.mmap:
    """An existing shared file; FileNotFoundError when its writer has not made it yet."""
    with path.open("r+b" if write else "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if write else mmap.ACCESS_READ)
