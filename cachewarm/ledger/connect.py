"""Connections to the ledger, and what its errors mean.

A writer's session limits (lock_timeout, idle_in_transaction_session_timeout) are set per connection: a role without
login cannot carry them. READ COMMITTED is asked for, as the feed refuses anything else.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import asyncpg

from cachewarm.errors import CachewarmError, Fatal, Refused, Transient
from cachewarm.ledger.migrate import require_schema
from responder.errors import LINK_FAILURES, reason
from responder.setting_fields import SecretStr

#: The connections and pools that this package hands out.
Connection = asyncpg.Connection
Pool = asyncpg.Pool
#: What single statements run on; a pool lends a connection for each, so that who waits between them holds none.
Queries = asyncpg.Connection | asyncpg.Pool

_SESSION = {
    "idle_in_transaction_session_timeout": "30s",
    "lock_timeout": "10s",
    "default_transaction_isolation": "read committed",
    "TimeZone": "UTC",
}
#: SQLSTATEs of what is wrong and stays wrong: 22 data, 23 integrity, 25001 isolation, 42501 rights.
_REFUSED = ("22", "23", "25001", "42501", "P0001")
#: Try again: 08 connection, 40 deadlock, 53 resources, 55P03 lock, 57 shut down or cancelled, 25006 a standby.
_TRANSIENT = ("08", "40", "53", "55P03", "57", "25006", "25P03")


class OutcomeUnknown(Transient):
    """The connection was lost while a change was under way: it may or may not be there. Repeating it is safe."""


async def connect(
    url: str | SecretStr,
    *,
    name: str = "fastocsp",
    timeout_s: float = 5.0,
    command_timeout_s: float = 60.0,
    check: bool = True,
    actor: str = "",
) -> Connection:
    """Return one connection. Transient: no server answers. Fatal: another version's schema, or a wrong login.

    `actor`: named in the audit rows of changes that name no actor themselves; by default the login.
    """
    with translated():
        connection = await asyncpg.connect(
            _plain(url),
            timeout=timeout_s,
            command_timeout=command_timeout_s,
            server_settings=_SESSION | {"application_name": name, "fastocsp.actor": actor},
        )
    try:
        if check:
            with translated():
                await require_schema(connection)
    except CachewarmError:
        connection.terminate()  # `close` asks the server once more, and raises what it likes when nobody answers
        raise
    return connection


@asynccontextmanager
async def connected(
    url: str | SecretStr, *, name: str = "fastocsp", check: bool = True, actor: str = ""
) -> AsyncIterator[Connection]:
    """A connection for one command, closed at its end; database errors inside come out translated."""
    connection = await connect(url, name=name, check=check, actor=actor)
    try:
        with translated():
            yield connection
    finally:
        connection.terminate() if connection.is_closed() else await connection.close(timeout=5)


async def open_pool(
    url: str | SecretStr,
    *,
    name: str = "fastocsp",
    size: int = 8,
    timeout_s: float = 5.0,
    command_timeout_s: float = 60.0,
) -> Pool:
    """A pool of up to `size` connections, its schema checked once."""
    await (await connect(url, name=name, timeout_s=timeout_s)).close()
    with translated():
        return await asyncpg.create_pool(
            _plain(url),
            min_size=1,
            max_size=size,
            timeout=timeout_s,
            command_timeout=command_timeout_s,
            server_settings=_SESSION | {"application_name": name},
        )


@asynccontextmanager
async def lent(source: Queries) -> AsyncIterator[Connection]:
    """Yield a connection of the pool, or the connection itself."""
    if isinstance(source, asyncpg.Pool):
        async with source.acquire() as connection:
            yield cast("Connection", connection)
    else:
        yield source


@contextmanager
def translated() -> Iterator[None]:
    """Asyncpg's errors and lost connections as Transient, Refused or Fatal, with one sentence each."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_server(error) from error
    except LINK_FAILURES as error:
        raise Transient(f"Postgres cannot be reached: {reason(error)}") from error


@contextmanager
def changing() -> Iterator[None]:
    """Around a transaction that changes something: a lost connection leaves its outcome unknown."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if (error.sqlstate or "").startswith(("08", "57P")):
            raise OutcomeUnknown(f"the database went away during the change: {error}") from error
        raise _of_server(error) from error
    except LINK_FAILURES as error:
        raise OutcomeUnknown(f"the connection was lost during the change: {reason(error)}") from error


def _of_server(error: asyncpg.PostgresError) -> CachewarmError:
    state = error.sqlstate or ""
    if state.startswith("28") or state == "3D000":
        return Fatal(f"Postgres does not let us in: {error}")
    if state in ("42P01", "42883", "42703"):
        return Fatal(f"the database does not have this version's schema: {error}")
    if state.startswith(_TRANSIENT):
        return Transient(f"Postgres: {error}")
    if state == "42501" and (text := str(error.args[0])).startswith("permission denied for "):
        return Refused(f"{text}: use the login that has this right, `fastocsp db roles` lists them")
    if state.startswith(_REFUSED):
        return Refused(str(error))
    return Fatal(f"Postgres: {error}")


async def one_row(connection: Queries, sql: str, *arguments: object) -> asyncpg.Record:
    """The row of a statement that always has one."""
    row = await connection.fetchrow(sql, *arguments)
    if row is None:
        raise Fatal("the database does not have this version's schema: a row that is always there is missing")
    return row


def _plain(url: str | SecretStr) -> str:
    return url.get_secret_value() if isinstance(url, SecretStr) else url
