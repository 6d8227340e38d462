"""Puts the tables of an archive into a database, for a restore. Everything happens in the caller's transaction.

The schema is made by our own migrations, so roles and grants come with it. While rows are loaded the triggers of each
table are off: what they would write is in the archive already. The owner of a table may do that, no superuser needed.
"""

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cachewarm.ledger.connect import Connection, translated
from cachewarm.ledger.logins import known_logins
from cachewarm.ledger.migrate import MIGRATIONS, read_migrations
from cachewarm.ledger.table_copies import LedgerTable, rows_of, while_connected

#: CRL numbers that are left free per second since the backup: more than any issuer can have published meanwhile.
CRL_NUMBERS_PER_S = 1 << 20
_MADE = re.compile(
    r"^\s*create (?:or replace |unlogged )?(table|view|type|domain|function) (?:if not exists )?(\w+)",
    re.IGNORECASE | re.MULTILINE,
)


async def is_empty(connection: Connection) -> bool:
    """Report whether the database has no issuer, no certificate and no revocation of ours, or no schema at all."""
    with translated():
        for table in ("issuers", "certificates", "revocation_events"):
            there = await connection.fetchval("select to_regclass($1) is not null", f"public.{table}")
            if there and await connection.fetchval(f"select exists (select from public.{table})"):  # noqa: S608
                return False
    return True


async def connected_logins(connection: Connection) -> list[str]:
    """Return the logins of our processes that are connected to this database, this session's own left out."""
    rows = await connection.fetch(
        """select distinct s.usename::text as login from pg_stat_activity s
            where s.datname = current_database() and s.usename = any ($1) and s.usename <> current_user
            order by 1""",
        list(await known_logins(connection)),
    )
    return [row["login"] for row in rows]


async def highest_generation(connection: Connection) -> int:
    """Return the generation of the ledger that is there, 0 without one."""
    with translated():
        if await connection.fetchval("select to_regclass('public.feed_head')") is None:
            return 0
        return await connection.fetchval("select coalesce(max(generation), 0) from feed_head")  # type: ignore[no-any-return]


async def drop_ledger(connection: Connection, folder: Path = MIGRATIONS) -> None:
    """Drop every table, view, type, domain and function that a migration makes, and nothing else."""
    made: dict[str, set[str]] = {kind: set() for kind in ("table", "view", "type", "domain", "function")}
    for migration in read_migrations(folder):
        for kind, name in _MADE.findall(migration.sql):
            made[kind.lower()].add(name.lower())
    made["table"].add("schema_migrations")
    for kind, catalog in (("view", "relkind = 'v'"), ("table", "relkind = 'r'")):
        found = await connection.fetch(
            f"""select relname as name from pg_class where relnamespace = 'public'::regnamespace and {catalog}
                   and relname = any ($1)""",  # noqa: S608 - our own constants
            sorted(made[kind]),
        )
        if found:
            names = ", ".join(f'public."{row["name"]}"' for row in found)
            await connection.execute(f"drop {kind} {names} cascade")
    functions = await connection.fetch(
        """select oid::regprocedure::text as name from pg_proc
            where pronamespace = 'public'::regnamespace and proname = any ($1)""",
        sorted(made["function"]),
    )
    for row in functions:
        await connection.execute(f"drop function if exists {row['name']} cascade")
    for name in sorted(made["type"] | made["domain"]):
        await connection.execute(f'drop type if exists public."{name}" cascade')


@asynccontextmanager
async def triggers_off(connection: Connection, tables: Sequence[LedgerTable]) -> AsyncIterator[None]:
    """Switch the tables' own triggers off, and back to what each was at the end; foreign keys stay checked."""
    rows = await connection.fetch(
        """select tgrelid::regclass::text as table, tgname as name, tgenabled::text as enabled from pg_trigger
            where not tgisinternal and tgenabled <> 'D' and tgrelid = any ($1::text[]::regclass[])""",
        [f"public.{table.name}" for table in tables],
    )
    for table in tables:
        await connection.execute(f'alter table public."{table.name}" disable trigger user')
    yield
    words = {"A": "always ", "R": "replica ", "O": ""}
    for row in rows:
        await connection.execute(f'alter table {row["table"]} enable {words[row["enabled"]]}trigger "{row["name"]}"')


async def empty_tables(connection: Connection, tables: Sequence[LedgerTable]) -> None:
    """Remove the rows that migrations make; to be called with the triggers off."""
    names = ", ".join(f'public."{table.name}"' for table in tables)
    await connection.execute(f"truncate {names}")


async def table_names(connection: Connection) -> set[str]:
    """Return the tables of the schema."""
    rows = await connection.fetch(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
    )
    return {row["relname"] for row in rows}


async def copy_table_in(connection: Connection, table: LedgerTable, source: AsyncIterator[bytes]) -> int:
    """Load the rows of a table from binary COPY format; their number."""
    copying = connection.copy_to_table(
        table.name, schema_name="public", columns=table.columns, source=source, format="binary"
    )
    return rows_of(await while_connected(connection, copying))


async def set_sequences(connection: Connection, last: Mapping[str, int]) -> None:
    """Let each sequence go on after that value."""
    for name, value in last.items():
        await connection.execute("select setval($1::text::regclass, $2)", f'public."{name}"', value)


async def move_keys(connection: Connection, moved: Mapping[str, str]) -> None:
    """Let issuers and responder certificates find their key files where they are now: {path before: path now}."""
    for former, now in moved.items():
        if former != now:
            await connection.execute("update issuers set key_path = $2 where key_path = $1", former, now)
            await connection.execute("update ocsp_responder_certs set key_path = $2 where key_path = $1", former, now)


async def leave_crl_numbers_free(connection: Connection, seconds: int) -> None:
    """Let the CRLs of each issuer go on beyond every number that can have been used in that many seconds.

    Two restores of one archive leave different gaps, so that the second does not repeat the numbers after the first.
    """
    await connection.execute(
        """select raise_crl_number(u.issuer_id, least(u.used + $1::numeric, last_crl_number_to_ask_for()))
             from (select i.issuer_id, greatest(0,
                     (select n.last from crl_numbers n where n.issuer_id = i.issuer_id),
                     (select max(c.crl_number) from crl_cache c where c.issuer_id = i.issuer_id),
                     (select max(p.crl_number) from crl_parts p where p.issuer_id = i.issuer_id),
                     (select max(e.crl_number) from crl_generation_events e where e.issuer_id = i.issuer_id)) as used
                   from issuers i
                  where i.crl_source is null and i.merged_into is null) u
            where u.used < last_crl_number_to_ask_for()""",
        max(1, seconds) * CRL_NUMBERS_PER_S,
    )


async def renew_crls_soon(connection: Connection) -> None:
    """Let the first warmer make the CRL of each issuer again: younger ones than the archive's may be out there.

    Edges take times from the CRL itself, warmers from its row.
    """
    await connection.execute(
        """update crl_cache c set next_update = least(c.next_update, now()) from issuers i
            where i.issuer_id = c.issuer_id and i.crl_source is null"""
    )


async def missing_logins(connection: Connection, logins: Iterable[str]) -> list[str]:
    """Return those that this server does not have."""
    rows = await connection.fetch("select rolname from pg_roles where rolname = any ($1)", list(logins))
    return sorted(set(logins) - {row["rolname"] for row in rows})


async def restored_from(connection: Connection, archive: str) -> bool:
    """Report whether the ledger is what a restore of that archive left: only logins were made since."""
    if await connection.fetchval("select to_regclass('public.audit_events')") is None:
        return False
    rows = await connection.fetch(
        """select action, detail->>'archive' as archive from audit_events
            where seq >= coalesce((select max(seq) from audit_events where action = 'restore'), 9223372036854775807)
            order by seq"""
    )
    return bool(rows) and rows[0]["archive"] == archive and {row["action"] for row in rows[1:]} <= {"edge-add"}
