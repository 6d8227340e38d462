"""`fastocsp db`: migrate and status, for people and for programs."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner

from cachewarm.cli.db import app
from cachewarm.embedded.postgres import EmbeddedPostgres


@pytest.fixture
def url(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, named in the environment."""

    async def create() -> None:
        connection = await asyncpg.connect(postgres.url("owner", "postgres"))
        await connection.execute("drop database if exists command with (force)")
        await connection.execute("create database command")
        await connection.close()

    asyncio.run(create())
    monkeypatch.setenv("FASTOCSP_DATABASE_URL", postgres.url("owner", "command"))
    return postgres.url("owner", "command")


def run(*words: object) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.stdout, done.stderr


def test_migrate_then_status(url: str, tmp_path: Path) -> None:
    """Pending with status 1, then applied with status 0; a second migrate does nothing; JSON is one object."""
    status, out, err = run("status", "--json", "--data-dir", tmp_path)
    assert status == 1
    assert {entry["state"] for entry in json.loads(out)["migrations"]} == {"pending"}
    assert "fastocsp db migrate" in err
    status, out, _ = run("migrate", "--json", "--data-dir", tmp_path)
    applied = json.loads(out)["applied"]
    assert status == 0
    assert applied[0] == "0001_registry"
    status, out, err = run("migrate", "--data-dir", tmp_path)
    assert (status, "nothing to do" in err) == (0, True)
    status, out, _ = run("status", "--json", "--data-dir", tmp_path)
    assert status == 0
    assert [entry["name"] for entry in json.loads(out)["migrations"]] == applied


def test_without_a_database_it_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No URL is a usage error, nobody there a failure; both in one line without a trace."""
    monkeypatch.delenv("FASTOCSP_DATABASE_URL", raising=False)
    status, _, err = run("status", "--data-dir", tmp_path)
    assert (status, "FASTOCSP_DATABASE_URL" in err) == (2, True)
    monkeypatch.setenv("FASTOCSP_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/none")
    status, _, err = run("migrate", "--data-dir", tmp_path)
    assert (status, "cannot be reached" in err, "secret" in err) == (1, True, False)
