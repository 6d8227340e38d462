"""One running quickstart for all tests that only ask; those that kill or stop start their own."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import Instance

#: An API key of the shared instance without the admin flag.
READER_KEY = secrets.token_hex(16)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All end-to-end tests run in one xdist worker: they share the running instance."""
    for item in items:
        if "tests/e2e" in item.nodeid:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """The shared one: two workers, no rate limit."""
    folder = scratch()
    keys = f"boss:{secrets.token_hex(16)}:admin,reader:{READER_KEY}"
    running = Instance(folder / "data", FASTOCSP_API_KEYS_NAMED=keys).start()
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """For an instance of the test's own."""
    folder = scratch()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def scratch() -> Path:
    """A folder that the account of Postgres can reach."""
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-e2e-"))
    folder.chmod(0o755)
    return folder
