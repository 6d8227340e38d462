"""The servers that tests share: one Postgres and one Valkey per worker, one migrated database per test.

`postgres`, `database` and `valkey` are real servers of the product's own embedded kind, in a folder that is gone at the
end. Servers are started from the main thread, as everywhere.
"""

import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import redis
from hypothesis import settings

from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs, database_urls, provision
from cachewarm.embedded.valkey import EmbeddedValkey
from tests.support.fixtures import instance, own_folder, scratch
from tests.support.sampling import commit_seed

__all__ = ["instance", "own_folder"]

# How long an example takes is the machine's matter: a busy one is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_TEMPLATE = "migrated"
_numbers = itertools.count(1)


def pytest_report_header() -> str:
    """Print the seed of what is sampled; FASTOCSP_SEED repeats a run."""
    return f"FASTOCSP_SEED={commit_seed()}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests together that share an instance."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from tests.support.grouping import GroupScheduling

    return GroupScheduling(config, log)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A data folder that another account may walk into: Postgres does not run as root."""
    folder = scratch("fastocsp-test-", 0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A running Postgres; no database of ours in it yet. It would not survive a power failure, which no test makes."""
    server = EmbeddedPostgres(server_folder, settings={"fsync": "off", "full_page_writes": "off"})
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(postgres: EmbeddedPostgres) -> str:
    """Name of a migrated database with its logins, to be copied."""
    await provision(postgres, _TEMPLATE)
    return _TEMPLATE


@pytest.fixture
async def database(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[DatabaseURLs]:
    """URLs of owner, writer and reader of an empty migrated database that only this test uses."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(postgres.url("owner", "postgres"))
    try:
        await admin.execute(f'create database "{name}" template "{template}" strategy file_copy')
        yield database_urls(postgres, name)
        await admin.execute(f'drop database "{name}" with (force)')
    finally:
        await admin.close()


@pytest.fixture(scope="session")
def valkey_server(server_folder: Path) -> Iterator[EmbeddedValkey]:
    """A running Valkey."""
    server = EmbeddedValkey(server_folder, maxmemory=64 << 20)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(valkey_server: EmbeddedValkey) -> EmbeddedValkey:
    """The running Valkey, without a key in it."""
    with redis.Redis.from_url(valkey_server.url("writer")) as client:
        for key in client.scan_iter(count=1000):
            client.delete(key)
    return valkey_server
