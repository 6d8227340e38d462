"""A running quickstart that tests of several folders share, and folders for instances of a test's own."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import FreshInstance, Instance
from tests.support.scratch import scratch

__all__ = ["READER_KEY", "instance", "own_folder", "scratch"]

#: An API key of the shared instance without the admin flag.
READER_KEY = secrets.token_hex(16)


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """The shared instance: two workers, no rate limit. Tests that kill or stop anything start their own."""
    folder = scratch()
    keys = f"boss:{secrets.token_hex(16)}:admin,reader:{READER_KEY}"
    running = FreshInstance(folder / "data", FASTOCSP_API_KEYS_NAMED=keys).start()
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """A folder for an instance of the test's own."""
    folder = scratch()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
