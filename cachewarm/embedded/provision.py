"""Makes the embedded server's database usable: database, schema, logins. Repeating it is free; a crash is repeated."""

from dataclasses import dataclass, field

import asyncpg

from cachewarm.embedded.postgres import DATABASE, LOGINS, EmbeddedPostgres
from cachewarm.ledger.migrate import migrate


@dataclass(frozen=True)
class DatabaseURLs:
    """postgresql:// URLs, each with its own login; the passwords are in them."""

    owner: str = field(repr=False)
    writer: str = field(repr=False)
    reader: str = field(repr=False)


async def provision(server: EmbeddedPostgres, database: str = DATABASE) -> DatabaseURLs:
    """Database, migrations, and the logins of writer and reader, with the passwords kept in the data folder."""
    await _create_database(server, database)
    connection = await asyncpg.connect(server.url("owner", database), timeout=10)
    try:
        await migrate(connection)
        for role in ("writer", "reader"):
            await create_login(connection, LOGINS[role], server.passwords[role], f"fastocsp_{role}")
    finally:
        await connection.close()
    return database_urls(server, database)


def database_urls(server: EmbeddedPostgres, database: str = DATABASE) -> DatabaseURLs:
    """The same, of a database that is provisioned already."""
    return DatabaseURLs(*(server.url(role, database) for role in ("owner", "writer", "reader")))


async def _create_database(server: EmbeddedPostgres, database: str) -> None:
    connection = await asyncpg.connect(server.url("owner", "postgres"), timeout=10)
    try:
        if not await connection.fetchval("select exists (select from pg_database where datname = $1)", database):
            await connection.execute(f'create database "{database}" template template0')
    finally:
        await connection.close()


async def create_login(connection: asyncpg.Connection, login: str, password: str, group: str) -> None:
    """`password` holds letters, digits, - and _ only: utility statements take no arguments."""
    if not await connection.fetchval("select to_regrole($1) is not null", login):
        await connection.execute(f'create role "{login}" nologin in role "{group}"')
    await connection.execute(f"alter role \"{login}\" login password '{password}'")
