"""Migrations: once, in order, unchanged, or not at all."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs, provision
from cachewarm.errors import Fatal
from cachewarm.ledger.migrate import migrate, migration_states, read_migrations, require_schema


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection."""
    connection = await asyncpg.connect(database.owner)
    yield connection
    await connection.close()


async def test_a_second_run_does_nothing(owner: asyncpg.Connection) -> None:
    """Migrate is idempotent: everything is applied, nothing is pending."""
    assert await migrate(owner) == []
    assert {state.state for state in await migration_states(owner)} == {"applied"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("update schema_migrations set sha256 = 'x' where version = 2", "changed"),
        ("update schema_migrations set version = 900, name = '0900_later' where version = 2", "newer fastocsp"),
        ("delete from schema_migrations where version = 2", "left out"),
    ],
)
async def test_files_that_disagree_with_the_database_are_refused(
    owner: asyncpg.Connection, change: str, word: str
) -> None:
    """A changed file, a newer database and a hole are each named and nothing runs."""
    await owner.execute(change)
    with pytest.raises(Fatal, match=word):
        await migrate(owner)


async def test_a_failing_file_leaves_nothing_behind(owner: asyncpg.Connection, tmp_path: Path) -> None:
    """All pending files are one transaction: the good one before the bad one is undone as well."""
    for file in read_migrations():
        (tmp_path / f"{file.name}.sql").write_text(file.sql)
    last = len(read_migrations())
    (tmp_path / f"{last + 1:04d}_good.sql").write_text("create table good (a int);")
    (tmp_path / f"{last + 2:04d}_bad.sql").write_text("select 1; create nonsense;")
    with pytest.raises(Fatal, match="bad"):
        await migrate(owner, tmp_path)
    assert await owner.fetchval("select to_regclass('good')") is None
    assert len(await migration_states(owner)) == last


async def test_a_schema_that_is_not_ours_is_fatal(postgres: EmbeddedPostgres, owner: asyncpg.Connection) -> None:
    """require_schema tells an empty database from a newer one."""
    await require_schema(owner)
    await owner.execute("comment on table schema_migrations is 'fastocsp schema 99'")
    with pytest.raises(Fatal, match="upgrade fastocsp"):
        await require_schema(owner)
    bare = await asyncpg.connect(postgres.url("owner", "postgres"))
    try:
        with pytest.raises(Fatal, match="db migrate"):
            await require_schema(bare)
    finally:
        await bare.close()


async def test_provisioning_twice_keeps_the_passwords(postgres: EmbeddedPostgres) -> None:
    """A repeated provision gives the same URLs, and each of them connects."""
    urls = await provision(postgres, "provisioned")
    assert await provision(postgres, "provisioned") == urls
    for url in (urls.owner, urls.cli, urls.signer):
        connection = await asyncpg.connect(url)
        await require_schema(connection)
        await connection.close()
