"""A running quickstart that tests of several folders share, and folders for instances of a test's own."""

import functools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.instance import Instance

#: An API key of the shared instance without the admin flag.
READER_KEY = secrets.token_hex(16)
#: Where Linux has a file system in memory, and the bytes that must be free there.
_SHM, _ROOM = Path("/dev/shm"), 4 << 30


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """The shared instance: two workers, no rate limit. Tests that kill or stop anything start their own."""
    folder = scratch()
    keys = f"boss:{secrets.token_hex(16)}:admin,reader:{READER_KEY}"
    running = Instance(folder / "data", FASTOCSP_API_KEYS_NAMED=keys).start()
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """A folder for an instance of the test's own."""
    folder = scratch()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def scratch(prefix: str = "fastocsp-e2e-", mode: int = 0o755) -> Path:
    """Make a folder that the account of Postgres can reach, in memory where there is room.

    No test cuts the power, so none needs a disk: what a killed process has written is in the file system either way.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_memory()))
    folder.chmod(mode)
    return folder


@functools.cache
def _memory() -> Path | None:
    """Return a file system in memory that is large enough for all servers of a test run, or None."""
    with suppress(OSError):
        if os.access(_SHM, os.W_OK) and shutil.disk_usage(_SHM).free >= _ROOM:
            return _SHM
    return None
