"""Reads every table of the ledger at one moment, in Postgres's binary COPY format, for a backup.

The statements name no table: the catalog does, so that a table of a later migration is in the archive too.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from cachewarm.errors import Transient
from cachewarm.ledger.connect import Connection, one_row, translated
from cachewarm.ledger.logins import known_logins

#: About running processes, not about the ledger: who builds a CRL just now, which warmers are alive.
PASSING = ("crl_turns", "warmer_heartbeats", "schema_migrations")
#: Seconds that a COPY has to fail by itself once its connection is lost.
_LOST_S = 1.0
#: Gets the next bytes of a table.
Write = Callable[[bytes], Coroutine[Any, Any, None]]


class LedgerTable(NamedTuple):
    """A table and the columns that are copied, in order; generated columns are left out."""

    name: str
    columns: list[str]


class LedgerFacts(NamedTuple):
    """Facts of a snapshot besides its tables, as JSON types."""

    schema: int
    migrations: dict[str, str]
    feed: dict[str, Any]
    audit: dict[str, Any]
    server: str
    sequences: dict[str, int]
    crl_numbers: dict[str, str]
    certificates: int
    logins: dict[str, str]
    edges: dict[str, str | None]


class KeyReference(NamedTuple):
    """A private key that the ledger names: `used_by` an issuer (`ca`) or one of its responders (`responder`)."""

    issuer_id: str
    used_by: str
    path: str


@asynccontextmanager
async def ledger_snapshot(connection: Connection) -> AsyncIterator[None]:
    """Let everything that is read inside be of one moment. Nothing can be written inside."""
    with translated():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("set local idle_in_transaction_session_timeout = 0")
            yield


async def ledger_tables(connection: Connection) -> list[LedgerTable]:
    """Return the tables of an archive, each after those that its foreign keys name; unlogged ones hold no facts."""
    rows = await connection.fetch(
        """select c.relname as name,
                  array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
                          and not a.attisdropped and a.attgenerated = '' order by a.attnum) as columns,
                  array(select k.confrelid::regclass::text from pg_constraint k
                         where k.conrelid = c.oid and k.contype = 'f' and k.confrelid <> c.oid) as needs
             from pg_class c
            where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relpersistence = 'p'
              and c.relname <> all ($1)
              and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
            order by c.relname""",
        list(PASSING),
    )
    waiting, ordered = {row["name"]: row for row in rows}, list[LedgerTable]()
    while waiting:
        free = [name for name, row in waiting.items() if not waiting.keys() & set(row["needs"])] or list(waiting)
        ordered += [LedgerTable(name, list(waiting.pop(name)["columns"])) for name in free]
    return ordered


async def copy_table_out(connection: Connection, table: LedgerTable, write: Write) -> int:
    """Write the table in binary COPY format; the number of its rows."""
    columns = ", ".join(f'"{column}"' for column in table.columns)
    with translated():
        copying = connection.copy_from_query(
            f'select {columns} from public."{table.name}"',  # noqa: S608 - names of the catalog
            output=write,
            format="binary",
        )
        return rows_of(await while_connected(connection, copying))


async def while_connected(connection: Connection, copying: Coroutine[Any, Any, str]) -> str:
    """Return what a COPY returns; Transient as soon as its connection is lost.

    asyncpg waits endlessly to write to a connection that was lost while it could not take more.
    """
    lost = asyncio.get_running_loop().create_future()

    def note(_: object) -> None:
        if not lost.done():
            lost.set_result(None)

    task = asyncio.ensure_future(copying)
    connection.add_termination_listener(note)
    try:
        await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=_LOST_S)  # it may know why
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_LOST_S)
            raise Transient("Postgres cannot be reached: the connection was lost during a COPY")
        return await task
    finally:
        connection.remove_termination_listener(note)
        task.cancel()


def rows_of(status: str) -> int:
    """Return the number in `COPY 7`."""
    return int(status.rpartition(" ")[2])


async def ledger_facts(connection: Connection) -> LedgerFacts:
    """Return positions, numbers and logins; to be called inside of `ledger_snapshot`."""
    feed = await one_row(connection, "select generation, seq, chain, sysid from feed_head")
    audit = await one_row(connection, "select seq, hash from audit_head")
    migrations = await connection.fetch("select version, name, sha256 from schema_migrations order by version")
    sequences = await connection.fetch(
        """select c.relname as name, pg_sequence_last_value(c.oid) as last from pg_class c
            where c.relnamespace = 'public'::regnamespace and c.relkind = 'S' order by 1"""
    )
    numbers = await connection.fetch("select issuer_id, last::text as last from crl_numbers order by 1")
    edges = await connection.fetch("select edge, login from edge_lease where login is not null order by 1")
    return LedgerFacts(
        schema=migrations[-1]["version"],
        migrations={row["name"]: row["sha256"] for row in migrations},
        feed={"generation": feed["generation"], "seq": feed["seq"], "chain": feed["chain"].hex()},
        audit={"seq": audit["seq"], "hash": audit["hash"].hex()},
        server=f"Postgres {connection.get_server_version().major}, system {feed['sysid']}",
        sequences={row["name"]: row["last"] for row in sequences if row["last"] is not None},
        crl_numbers={row["issuer_id"]: row["last"] for row in numbers},
        certificates=await connection.fetchval("select count(*) from certificates"),
        logins=await known_logins(connection),
        edges={row["edge"]: row["login"] for row in edges},
    )


async def key_references(connection: Connection) -> list[KeyReference]:
    """Return where the ledger says that private keys are: paths of files on some host, or URIs of tokens."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id, 'ca' as used_by, key_path as path from issuers where key_path is not null
               union select issuer_id, 'responder', key_path from ocsp_responder_certs where key_path is not null
               order by 1, 2, 3"""
        )
    return [KeyReference(*row.values()) for row in rows]
