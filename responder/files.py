"""Files of the state folder, which are replaced whole, and files of the run folder, which processes map and share."""

import contextlib
import errno
import mmap
import os
import tempfile
from pathlib import Path

#: Where a shared file is made when the disk of the run folder is full.
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - every file gets a name of its own, mode 0600
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_file(path: Path, octets: bytes, mode: int = 0o644) -> None:
    """Write the whole file, or leave the old one."""
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
    """Make a zeroed shared file of that size, mode 0600, in place of the one before.

    On a full disk it is made in memory, and `path` is a symbolic link to it: what is shared means nothing after a boot.
    The space is allocated here: a write into a hole of a sparse file would end the process (SIGBUS) instead. OSError
    when there is room in neither place.
    """
    remove_map(path)
    try:
        return _map_new(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), size)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in _FULL:
            raise
    fd, name = tempfile.mkstemp(prefix="fastocsp-", suffix=f"-{path.name}", dir=MEMORY_FOLDER)
    try:
        mapped = _map_new(fd, size)
        path.symlink_to(name)
    except OSError:
        Path(name).unlink()
        raise
    return mapped


def _map_new(fd: int, size: int) -> mmap.mmap:
    try:
        os.posix_fallocate(fd, 0, size)
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


def replace_map(new: Path, path: Path) -> None:
    """Rename a shared file over the one before; processes that map that one keep it."""
    former = _target_of(path)
    new.rename(path)
    if former is not None:
        former.unlink(missing_ok=True)


def remove_map(path: Path) -> None:
    """Remove a shared file; processes that map it keep it."""
    former = _target_of(path)
    path.unlink(missing_ok=True)
    if former is not None:
        former.unlink(missing_ok=True)


def _target_of(path: Path) -> Path | None:
    """Return the file in memory that `path` is a link to, None where it is a file itself."""
    with contextlib.suppress(OSError):
        target = path.readlink()
        return target if target.parent == MEMORY_FOLDER else None
    return None


def open_map(path: Path, *, write: bool = False) -> mmap.mmap:
    """An existing shared file; FileNotFoundError when its writer has not made it yet."""
    with path.open("r+b" if write else "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if write else mmap.ACCESS_READ)
