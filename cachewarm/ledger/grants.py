"""The rights of the groups on the ledger, given again from the migrations: a dump that was restored by hand lacks them.

`pg_dump` writes a GRANT per group, which fails where the groups are not there yet, and psql goes on. The migrations
are where rights are defined: their GRANT statements are run again, object by object. What a later migration dropped
is skipped. Functions are taken from PUBLIC first, as every migration does.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from cachewarm.errors import Refused
from cachewarm.ledger.connect import Connection, translated
from cachewarm.ledger.logins import BACKUP, READER, WRITER
from cachewarm.ledger.migrate import MIGRATIONS, read_migrations

_TOKEN = re.compile(r"--[^\n]*|\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|;", re.DOTALL)
_GRANT = re.compile(
    r"grant\s+(?P<rights>.+?)\s+on\s+(?P<kind>function\s+|schema\s+|sequence\s+|table\s+)?(?P<objects>.+?)\s+to\s+"
    r"(?P<groups>[\w\s,]+)",
    re.IGNORECASE | re.DOTALL,
)
_GONE = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
)


def statements_of(sql: str) -> Iterator[str]:
    """Yield the statements of a script without comments; semicolons in quotes end none."""
    begin, kept = 0, list[str]()
    for token in _TOKEN.finditer(sql):
        text = token.group()
        kept.append(sql[begin : token.start()])
        begin = token.end()
        if text == ";":
            yield "".join(kept).strip()
            kept = []
        elif not text.startswith("--"):
            kept.append(text)
    if last := "".join([*kept, sql[begin:]]).strip():
        yield last


def grants_of(sql: str) -> Iterator[str]:
    """Yield the GRANT statements of a migration that name rights on objects, one per object."""
    for statement in statements_of(sql):
        match = _GRANT.fullmatch(statement)
        if match is not None:
            for each in re.findall(r"[^,()]+(?:\([^)]*\))?", match["objects"]):
                yield f"grant {match['rights']} on {match['kind'] or ''}{each.strip()} to {match['groups']}"


async def make_groups(connection: Connection) -> None:
    """Make the groups that are missing, with this login as their member. Refused: it may not make roles.

    The group for backups is left out where it cannot be made.
    """
    for group in (WRITER, READER, BACKUP):
        try:
            with translated():
                async with connection.transaction():
                    if not await connection.fetchval("select to_regrole($1) is not null", group):
                        await connection.execute(f"create role {group} nologin")
                    if not await connection.fetchval("select pg_has_role(current_user, $1, 'member')", group):
                        await connection.execute(f"grant {group} to current_user")
        except Refused as error:
            if group == BACKUP:  # backups can be made by the owner
                continue
            raise Refused(
                f"the group {group} is missing, and this login may not make it ({error}): a DBA runs what "
                "`fastocsp db roles --sql` prints"
            ) from error


async def give_rights(connection: Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Give the groups what the migrations give them, all or nothing; those whose rights changed.

    For the ledger's owner. Refused when the groups cannot be made.
    """
    with translated():
        async with connection.transaction():
            await make_groups(connection)
            before = await held_rights(connection)
            await connection.execute(
                """do $$ declare f regprocedure; begin
                     for f in select p.oid from pg_proc p where p.pronamespace = 'public'::regnamespace
                        and pg_has_role(current_user, p.proowner, 'usage')
                        and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') loop
                       execute format('revoke all on function %s from public', f);
                     end loop; end $$"""
            )
            for migration in read_migrations(folder):
                for statement in grants_of(migration.sql):
                    try:
                        async with connection.transaction():
                            await connection.execute(statement)
                    except _GONE:
                        continue
            if await connection.fetchval("select to_regprocedure('public.grant_reading()') is not null"):
                await connection.execute("select grant_reading()")
            after = await held_rights(connection)
    return sorted({group for group, _ in before ^ after})


async def owns_ledger(connection: Connection) -> bool:
    """Report whether this login is the owner of the ledger, or a member of it. Refused where there is no ledger."""
    with translated():
        owns = await connection.fetchval(
            """select pg_has_role(current_user, c.relowner, 'usage') from pg_class c
                where c.oid = to_regclass('public.issuers')"""
        )
    if owns is None:
        raise Refused("the database holds no ledger: restore the dump first")
    return bool(owns)


async def held_rights(connection: Connection) -> set[tuple[str, str]]:
    """Return every right that somebody has on an object of ours, as (who, right)."""
    rows = await connection.fetch(
        """with given(object, acl) as (
             select c.relname::text, coalesce(c.relacl, acldefault(
                   (case c.relkind when 'S' then 's' else 'r' end)::"char", c.relowner))
                  from pg_class c where c.relnamespace = 'public'::regnamespace
             union all select a.attrelid::regclass || '.' || a.attname, a.attacl from pg_attribute a
                  join pg_class c on c.oid = a.attrelid where c.relnamespace = 'public'::regnamespace
             union all select p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)) from pg_proc p
                  where p.pronamespace = 'public'::regnamespace
             union all select 'schema', coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace
                  where nspname = 'public')
           select case when x.grantee = 0 then 'public' else pg_get_userbyid(x.grantee)::text end as who,
                  object || ' ' || x.privilege_type as right from given, aclexplode(given.acl) x"""
    )
    return {(row["who"], row["right"]) for row in rows}
