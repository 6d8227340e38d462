"""Rights that a dump did not bring: given again exactly as the migrations give them."""

import subprocess
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from cachewarm.embedded.binaries import find_postgres
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused
from cachewarm.ledger.connect import Connection, connect, connected
from cachewarm.ledger.grants import give_rights, grants_of, held_rights, owns_ledger, statements_of
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.logins import url_of
from cachewarm.ledger.revocations import Revocation, bulk_revoke


def copy_without_rights(source: str, target: str) -> None:
    """Dump one database and load it into another, as a DBA would who wants to see no error."""
    tools = find_postgres().bin
    dump = [str(tools / "pg_dump"), "--no-owner", "--no-privileges", "-d", source]
    load = [str(tools / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", target]
    sql = subprocess.run(dump, capture_output=True, check=True).stdout
    subprocess.run(load, input=sql, check=True, stdout=subprocess.DEVNULL)


async def test_a_dump_without_rights_works_again_once_they_are_given(
    owner: Connection, issuer: Issuer, database: DatabaseURLs, postgres: EmbeddedPostgres
) -> None:
    """Every right on every object is what it was, PUBLIC's included, and a writer's login works."""
    admin = await asyncpg.connect(postgres.url("owner", "postgres"))
    try:
        await admin.execute('create database "dumped" template template0')
        url = postgres.url("owner", "dumped")
        copy_without_rights(database.owner, url)
        login = urlsplit(database.cli)
        writer_url = url_of(url, str(login.username), unquote(str(login.password)))
        async with connected(writer_url) as writer:
            with pytest.raises(Refused, match="permission denied"):
                await bulk_revoke(writer, "ca", [Revocation(b"\x10")], actor="tests")
            assert not await owns_ledger(writer)
        async with connected(url) as restored:
            assert await owns_ledger(restored)
            assert await held_rights(restored) != await held_rights(owner)
            groups = ["fastocsp_reader", "fastocsp_reads_all", "fastocsp_writer", "public"]
            assert await give_rights(restored) == groups
            assert await held_rights(restored) == await held_rights(owner)
            assert await give_rights(restored) == []
        async with connected(writer_url) as writer:
            await bulk_revoke(writer, "ca", [Revocation(b"\x10")], actor="tests")
    finally:
        await admin.execute('drop database if exists "dumped" with (force)')
        await admin.close()


async def test_a_database_without_a_ledger_is_named(postgres: EmbeddedPostgres) -> None:
    """Somebody gave the URL of another database."""
    connection = await connect(postgres.url("owner", "postgres"), check=False)
    try:
        with pytest.raises(Refused, match="holds no ledger"):
            await owns_ledger(connection)
    finally:
        await connection.close()


def test_grants_are_found_among_other_statements() -> None:
    """Comments, quotes and bodies of functions hold none; one statement per object."""
    sql = """-- grant select on a to b; not this one
      create function f() returns text language sql as $$ select 'x'; grant select on no to one $$;
      grant select (a, b),
        update on t, u to g;  insert into t values ('; grant select on v to w');
      grant execute on function f(int, text), h to g, i"""
    assert len(list(statements_of(sql))) == 4
    assert list(grants_of(sql)) == [
        "grant select (a, b),\n        update on t to g",
        "grant select (a, b),\n        update on u to g",
        "grant execute on function f(int, text) to g, i",
        "grant execute on function h to g, i",
    ]
