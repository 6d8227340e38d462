"""Files that hold secrets: written whole or not at all, never readable for others.

Crash points of a write: before the rename the old file stands (a `.new` beside it is rubbish of ours, which nothing
reads); after the rename the new one stands; the fsync of the folder makes the rename outlive the power.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cachewarm.errors import Refused

SECRET_MODE = 0o600


def write_atomically(
    path: Path, octets: bytes, mode: int = SECRET_MODE, *, owner: tuple[int, int] | None = None
) -> None:
    """Replace the file by those bytes; the folder is made (0700) when there is none. `owner`: user and group ids."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, *owner)
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextmanager
def new_file(path: Path, octets: bytes, mode: int = SECRET_MODE) -> Iterator[None]:
    """A file that was not there before: written beside its place at once, put there when the body went well.

    FileExistsError, and nothing changed, when somebody else was faster; a crash in the body leaves `.NAME.PID.first`.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.first")
    write_atomically(beside, octets, mode)
    try:
        yield
        os.link(beside, path, follow_symlinks=False)
    finally:
        beside.unlink()
    _sync_folder(path.parent)


def write_new(path: Path, octets: bytes, mode: int = SECRET_MODE) -> None:
    """A file that was not there before, whole or not at all; FileExistsError when it was."""
    with new_file(path, octets, mode):
        pass


def read_secret(path: Path) -> bytes:
    """The file's bytes; Refused when group or others may touch it, FileNotFoundError when there is none."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise Refused(f"{path} is open to others (mode {mode:04o}): chmod 600 it, and think of its key as known")
        return file.read()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
