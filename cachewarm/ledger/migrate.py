"""Brings a database to this version's schema: the files of migrations/, in order, each once, all in one transaction.

A file is run whole by `execute` without arguments. Its SHA-256 is kept: a file that changed after it ran, a file that
is gone, a database that a newer fastocsp has been at: each is refused with its name, and nothing is done. Two at once
wait for each other on a lock of schema_migrations, which no reader can take. A crash leaves the schema of before.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import asyncpg

from cachewarm.errors import Fatal, Refused

MIGRATIONS = Path(__file__).with_name("migrations")
OLDEST_SERVER = 15
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_TABLE = """
create table if not exists schema_migrations (
  version int primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())
"""

Connection = asyncpg.Connection


class Migration(NamedTuple):
    """One file, or one row of schema_migrations."""

    version: int
    name: str
    sha256: str
    sql: str = ""


class MigrationState(NamedTuple):
    """Where one migration stands: applied, pending, changed, missing or newer."""

    version: int
    name: str
    state: str


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """The files, by their number; Fatal when a name or a number is not as it should be."""
    found = [_read(path) for path in sorted(folder.glob("*.sql"))]
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise Fatal(f"the migrations in {folder} are not numbered 0001, 0002, ...")
    return found


def _read(path: Path) -> Migration:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise Fatal(f"{path.name} is not the name of a migration: NNNN_words.sql")
    sql = path.read_text(encoding="utf-8")
    return Migration(int(match[1]), path.stem, hashlib.sha256(sql.encode()).hexdigest(), sql)


async def migrate(connection: Connection, folder: Path = MIGRATIONS, *, last: int | None = None) -> list[str]:
    """Apply what is pending, up to the number `last`; the names of what was applied.

    Refused or Fatal leave everything as it was.
    """
    if connection.get_server_version().major < OLDEST_SERVER:
        raise Refused(f"Postgres {OLDEST_SERVER} or newer is needed, this is {connection.get_server_version().major}")
    files = read_migrations(folder)[:last]
    async with connection.transaction():
        await _lock(connection)
        states = compare(files, await _applied(connection))
        _refuse_disagreement(states)
        pending = {state.version for state in states if state.state == "pending"}
        for file in files:
            if file.version in pending:
                await _apply(connection, file)
        await connection.execute(f"comment on table schema_migrations is '{_mark(files)}'")
    return [file.name for file in files if file.version in pending]


async def _lock(connection: Connection) -> None:
    """Let nobody else migrate until the transaction ends; of two that make the table at once one waits."""
    try:
        async with connection.transaction():
            await connection.execute(_TABLE)
    except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError):
        pass
    await connection.execute("lock table schema_migrations in share row exclusive mode")


async def _apply(connection: Connection, file: Migration) -> None:
    try:
        await connection.execute(file.sql)
    except asyncpg.PostgresError as error:
        raise Fatal(f"migration {file.name} failed, nothing was changed: {error}") from error
    await connection.execute(
        "insert into schema_migrations (version, name, sha256) values ($1, $2, $3)",
        file.version,
        file.name,
        file.sha256,
    )


async def migration_states(connection: Connection, folder: Path = MIGRATIONS) -> list[MigrationState]:
    """Every migration that the files or the database know."""
    there = await connection.fetchval("select to_regclass('public.schema_migrations') is not null")
    return compare(read_migrations(folder), await _applied(connection) if there else [])


async def _applied(connection: Connection) -> list[Migration]:
    rows = await connection.fetch("select version, name, sha256 from schema_migrations order by version")
    return [Migration(row["version"], row["name"], row["sha256"]) for row in rows]


def compare(files: list[Migration], applied: list[Migration]) -> list[MigrationState]:
    """Files against rows, by number."""
    by_number = {row.version: row for row in applied}
    states = []
    for file in files:
        row = by_number.pop(file.version, None)
        state = "pending" if row is None else "applied" if row.sha256 == file.sha256 else "changed"
        states.append(MigrationState(file.version, file.name, state))
    last = len(files)
    states += [
        MigrationState(row.version, row.name, "newer" if row.version > last else "missing")
        for row in by_number.values()
    ]
    return states


def _refuse_disagreement(states: list[MigrationState]) -> None:
    newer = [state.name for state in states if state.state == "newer"]
    if newer:
        raise Fatal(f"this database was migrated by a newer fastocsp ({newer[-1]}): upgrade this one")
    changed = [f"{state.name} {state.state}" for state in states if state.state in ("changed", "missing")]
    if changed:
        raise Fatal(f"migrations that ran on this database are not the ones at hand: {', '.join(changed)}")
    pending = [state.version for state in states if state.state == "pending"]
    done = [state.version for state in states if state.state == "applied"]
    if pending and done and min(pending) < max(done):
        raise Fatal(f"migration {min(pending):04d} was left out, later ones have run")


def _mark(files: list[Migration]) -> str:
    return f"fastocsp schema {len(files)}"


async def require_schema(connection: Connection, folder: Path = MIGRATIONS) -> None:
    """Fatal unless the database has exactly this version's schema.

    Reads the mark that `migrate` leaves in the catalog: the reader role may see no table of ours for this.
    """
    mark = await connection.fetchval("select obj_description(to_regclass('public.schema_migrations'), 'pg_class')")
    have, want = int((mark or "0").rpartition(" ")[2]), len(read_migrations(folder))
    if have < want:
        raise Fatal(f"the database has schema {have}, this fastocsp needs {want}: run `fastocsp db migrate`")
    if have > want:
        raise Fatal(f"the database has schema {have}, this fastocsp knows {want}: upgrade fastocsp")
