"""Makes the embedded server's database usable: database, schema, logins. Repeating it is free; a crash is repeated."""

from dataclasses import dataclass, field

import asyncpg

from cachewarm.embedded.postgres import DATABASE, LOGINS, EmbeddedPostgres
from cachewarm.ledger.edges import register_edge
from cachewarm.ledger.logins import READER, WRITER, NewLogin, drop_login, make_logins
from cachewarm.ledger.migrate import migrate

_WRITERS, _READERS = ("warmer", "admin", "cli"), ("edge", "signer", "ca_signer")
#: Of 0.1, shared by several processes.
_FORMER_LOGINS = ("fastocsp_writer_login", "fastocsp_reader_login")


@dataclass(frozen=True, kw_only=True)
class DatabaseURLs:
    """postgresql:// URLs, each with its own login; the passwords are in them."""

    owner: str = field(repr=False)
    warmer: str = field(repr=False)
    admin: str = field(repr=False)
    cli: str = field(repr=False)
    edge: str = field(repr=False)
    signer: str = field(repr=False)
    ca_signer: str = field(repr=False)


async def provision(server: EmbeddedPostgres, database: str = DATABASE, *, edge: str | None = None) -> DatabaseURLs:
    """Make database, schema and the logins of each process, with the passwords kept in the data folder.

    The edge's login speaks for the edge of that name.
    """
    await create_database(server, database)
    connection = await asyncpg.connect(server.url("owner", database), timeout=10)
    try:
        await migrate(connection)
        for roles, group in ((_WRITERS, WRITER), (_READERS, READER)):
            logins = [NewLogin(name=LOGINS[role], group=group, password=server.passwords[role]) for role in roles]
            await make_logins(connection, logins)
        for login in _FORMER_LOGINS:
            await drop_login(connection, login)
        if edge is not None:
            await register_edge(connection, edge, LOGINS["edge"], actor="quickstart")
    finally:
        await connection.close()
    return database_urls(server, database)


def database_urls(server: EmbeddedPostgres, database: str = DATABASE) -> DatabaseURLs:
    """The same, of a database that is provisioned already."""
    return DatabaseURLs(**{role: server.url(role, database) for role in LOGINS})


async def create_database(server: EmbeddedPostgres, database: str = DATABASE) -> None:
    """Make the empty database unless it is there."""
    connection = await asyncpg.connect(server.url("owner", "postgres"), timeout=10)
    try:
        if not await connection.fetchval("select exists (select from pg_database where datname = $1)", database):
            await connection.execute(f'create database "{database}" template template0')
    finally:
        await connection.close()
