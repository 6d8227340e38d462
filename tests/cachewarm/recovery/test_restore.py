"""A real ledger into an archive and out of it, into real databases: nothing is lost, and nothing half done is left."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from cachewarm.embedded.binaries import find_postgres
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused, Transient
from cachewarm.ledger import grants, logins
from cachewarm.ledger.audit import list_audit, verify_audit
from cachewarm.ledger.connect import Connection, connect, connected
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from cachewarm.ledger.table_copies import LedgerTable, ledger_tables
from cachewarm.ledger.table_loads import copy_table_in
from cachewarm.recovery.archive import PIECE
from cachewarm.recovery.backup import BackupPlan, create_backup
from cachewarm.recovery.restore import Restored, Source, restore_keys, restore_ledger
from cachewarm.recovery.verify import Demand, verify

#: Changed by a restore itself: the feed and what a new generation brings, the CRL's row, the audit chain, key paths.
_OWN_CHANGES = {
    "audit_events",
    "audit_head",
    "crl_cache",
    "crl_numbers",
    "edge_lease",
    "feed_head",
    "feed_home",
    "issuer_changes",
    "issuer_fences",
    "issuers",
    "revocation_events",
}


async def contents(connection: Connection) -> dict[str, list[Any]]:
    """Every row of every table."""
    return {
        table.name: sorted(map(str, await connection.fetch(f'select * from "{table.name}"')))
        for table in await ledger_tables(connection)
    }


async def triggers(connection: Connection) -> set[tuple[Any, ...]]:
    """Every trigger and when it fires."""
    rows = await connection.fetch(
        "select tgrelid::regclass::text, tgname, tgenabled from pg_trigger where not tgisinternal"
    )
    return {tuple(row) for row in rows}


async def bring_back(connection: Connection, path: Path, keys: Path, **how: Any) -> Restored:
    """Verify and restore."""
    with path.open("rb") as file:
        source = Source(file=file, name=str(path), manifest=verify(file, str(path), Demand()).manifest)
        moved = restore_keys(source, keys, replace=bool(how.get("replace")))
        return await restore_ledger(connection, source, moved=moved, **how)


@pytest.fixture
async def saved(owner: Connection, plan: BackupPlan, tmp_path: Path) -> Path:
    """An archive of the small ledger."""
    path = tmp_path / "saved.backup"
    await create_backup(owner, path, plan)
    return path


async def test_a_restored_ledger_has_every_row_right_and_trigger(
    owner: Connection, target: Connection, saved: Path, tmp_path: Path
) -> None:
    """Into an empty database: the same rows, a later generation, higher CRL numbers, an audit chain that holds."""
    done = await bring_back(target, saved, tmp_path / "new keys")
    before, after = await contents(owner), await contents(target)
    assert {name for name in before if before[name] != after[name]} <= _OWN_CHANGES
    assert await triggers(target) == await triggers(owner)
    assert done.generation > await owner.fetchval("select generation from feed_head")
    verdict = await verify_audit(target)
    assert verdict.broken_at is None
    (entry,) = await list_audit(target, limit=1)
    assert (entry.action, entry.detail["generation"]) == ("restore", done.generation)
    moved = await target.fetchval("select key_path from issuers where issuer_id = 'ca'")
    assert moved == str(tmp_path / "new keys" / "ca-ca.key")
    assert Path(moved).read_bytes() == (tmp_path / "site" / "keys" / "ca-ca.key").read_bytes()
    assert await target.fetchval("select key_path from issuers where issuer_id = 'hsm'") == "pkcs11:token=t;object=k"
    assert await target.fetchval("select next_crl_number('ca')") > 7 + 2**20
    assert await target.fetchval("select next_crl_number('hsm')") > 2**20, (
        "its first CRLs may be younger than the backup"
    )


async def test_the_writers_go_on_in_a_restored_ledger(
    ledger: DatabaseURLs, target: Connection, empty_database: str, saved: Path, tmp_path: Path
) -> None:
    """Roles and grants are there, triggers fire, sequences go on."""
    await bring_back(target, saved, tmp_path / "keys")
    cli = urlsplit(ledger.cli)
    async with connected(logins.url_of(empty_database, str(cli.username), unquote(str(cli.password)))) as writer:
        before = await writer.fetchval("select seq from feed_head")
        await bulk_revoke(writer, "ca", [Revocation(b"\x10\x05")], actor="tests")
        status = await writer.fetchval("select status from certificates where serial_number = '\\x1005'")
        assert status == "revoked"
        assert await writer.fetchval("select seq from feed_head") == before + 1
        assert (await verify_audit(writer)).broken_at is None


async def test_a_restore_that_fails_in_the_middle_leaves_an_empty_target_and_can_be_repeated(
    target: Connection, saved: Path, tmp_path: Path
) -> None:
    """One transaction: none of the tables is there until all of them are."""
    pieces = []

    def fail_late(octets: int) -> None:
        pieces.append(octets)
        if len(pieces) == 12:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bring_back(target, saved, tmp_path / "keys", progress=fail_late)
    assert await target.fetchval("select to_regclass('public.issuers') is null")
    assert (await bring_back(target, saved, tmp_path / "keys")).loaded


async def test_a_second_run_of_a_finished_restore_changes_nothing(
    target: Connection, saved: Path, tmp_path: Path
) -> None:
    """It was killed after the commit: the ledger is recognised."""
    first = await bring_back(target, saved, tmp_path / "keys")
    state = await contents(target)
    second = await bring_back(target, saved, tmp_path / "keys")
    assert (first.loaded, second.loaded, second.generation) == (True, False, first.generation)
    assert await contents(target) == state


async def test_a_target_with_a_ledger_is_refused_without_replace(
    owner: Connection, saved: Path, tmp_path: Path
) -> None:
    """Nothing changes; with `replace` what came after the backup is gone, and the generation is above the target's."""
    await bulk_revoke(owner, "ca", [Revocation(b"\x10\x07")], actor="tests")
    await owner.fetchval("select feed_begin_generation(40)")
    state = await contents(owner)
    with pytest.raises(Refused, match="--replace"):
        await bring_back(owner, saved, tmp_path / "keys")
    assert await contents(owner) == state
    done = await bring_back(owner, saved, tmp_path / "keys", replace=True)
    assert done.generation > 41
    assert await owner.fetchval("select count(*) from certificate_revocations") == 3


async def test_a_ledger_in_use_is_not_replaced(
    owner: Connection, ledger: DatabaseURLs, saved: Path, tmp_path: Path
) -> None:
    """A warmer would go on writing what it knew before."""
    async with connected(ledger.warmer):
        with pytest.raises(Refused, match="fastocsp_warmer are connected"):
            await bring_back(owner, saved, tmp_path / "keys", replace=True)


async def test_a_restore_again_uses_other_crl_numbers(
    target: Connection, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two restores of one archive, a day apart: the second is beyond all numbers after the first."""
    await bring_back(target, saved, tmp_path / "keys")
    used = await target.fetchval("select next_crl_number('ca')")
    monkeypatch.setattr("cachewarm.recovery.restore._age_s", lambda _: 86_400)
    await bring_back(target, saved, tmp_path / "keys", replace=True)
    assert await target.fetchval("select next_crl_number('ca')") > used + 1000


async def test_a_plain_owner_can_restore_and_the_backup_login_can_back_up_but_not_write(
    ledger: DatabaseURLs,
    postgres: EmbeddedPostgres,
    owner: Connection,
    plan: BackupPlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No superuser is needed for either; the backup login reads every table and changes none."""
    backup = logins.NewLogin(name="fastocsp_backup", group=logins.BACKUP, password=logins.new_password())
    await logins.make_logins(owner, [backup])
    reader = await connect(logins.url_of(ledger.owner, backup.name, backup.password))
    path = tmp_path / "by the login.backup"
    try:
        await create_backup(reader, path, plan)
        for sql in (
            "update issuers set subject = ''",
            "insert into certificate_revocations (issuer_id, serial_number) values ('ca', '\\x1009')",
            "select audit_append('a', 'b')",
            "select feed_begin_generation(0)",
            "select next_crl_number('ca')",
            "create table t (a int)",
            "select setval('issuers_issuer_no_seq', 1)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(sql)
    finally:
        await reader.close()

    admin = await asyncpg.connect(postgres.url("owner", "postgres"))
    try:
        await admin.execute("create role plain_owner login password 'plain'")
        for statement in logins.groups_statements("plain_owner"):
            await admin.execute(statement)
        await admin.execute("create database plain owner plain_owner template template0")
        target = await connect(logins.url_of(postgres.url("owner", "plain"), "plain_owner", "plain"), check=False)
        done = await bring_back(target, path, tmp_path / "keys")
        assert done.loaded
        assert await target.fetchval("select count(*) from certificate_revocations") == 3
        monkeypatch.setattr(grants, "BACKUP", "fastocsp_absent")
        assert await grants.give_rights(target) == [], "an owner who may not make the group for backups"
        monkeypatch.setattr(grants, "READER", "fastocsp_absent_too")
        with pytest.raises(Refused, match="db roles --sql"):
            await grants.give_rights(target)
        await target.close()
    finally:
        await admin.execute("drop database if exists plain with (force)")
        await admin.execute("drop role if exists plain_owner")
        await admin.close()


async def test_an_archive_of_an_earlier_schema_is_migrated(
    target: Connection, saved: Path, plan: BackupPlan, tmp_path: Path, empty_database: str
) -> None:
    """It is loaded into its own schema, and the later migrations run over its rows."""
    from cachewarm.ledger.migrate import migrate, read_migrations

    last = len(read_migrations())
    await migrate(target, last=last - 1)
    await target.execute("insert into issuers (issuer_id, subject, cert_der) values ('old', 'CN=Old', 'old')")
    older = tmp_path / "older.backup"
    await create_backup(target, older, plan)
    done = await bring_back(target, older, tmp_path / "keys", replace=True)
    assert done.loaded
    assert await target.fetchval("select max(version) from schema_migrations") == last
    assert await target.fetchval("select subject from issuers") == "CN=Old"


async def test_a_connection_that_is_lost_while_a_copy_waits_to_write_is_an_error(
    ledger: DatabaseURLs, postgres: EmbeddedPostgres
) -> None:
    """The driver alone would wait for ever."""
    stalled, over = asyncio.Event(), asyncio.Event()
    clients, relays = list[asyncio.StreamWriter](), list[asyncio.Task[None]]()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not stalled.is_set() and (octets := await reader.read(65536)):
            writer.write(octets)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_unix_connection(str(postgres.socket_folder / ".s.PGSQL.5432"))
        clients.append(writer)
        pumps = [asyncio.ensure_future(pump(reader, down)), asyncio.ensure_future(pump(up, writer))]
        await over.wait()
        for each in pumps:
            each.cancel()
        await asyncio.wait(pumps)
        writer.transport.abort()
        down.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.append(asyncio.ensure_future(relay(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = await connect(ledger.owner.partition("?")[0].replace("@/", f"@127.0.0.1:{port}/"))
    written = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal written
        stalled.set()
        while True:
            yield bytes(1 << 20)
            written += 1

    async def lose_it() -> None:
        seen = -1
        while written != seen:  # until the source is not asked any more
            seen = written
            await asyncio.sleep(0.1)
        clients[0].transport.abort()

    losing = asyncio.ensure_future(lose_it())
    try:
        with pytest.raises(Transient, match="connection was lost during a COPY"):
            await asyncio.wait_for(copy_table_in(connection, LedgerTable("issuers", ["subject"]), source()), 30)
    finally:
        await losing
        over.set()
        await asyncio.wait(relays)
        connection.terminate()
        server.close()


async def test_a_table_larger_than_a_piece_is_cut_and_put_together(
    owner: Connection, target: Connection, plan: BackupPlan, tmp_path: Path
) -> None:
    """Rows cross the borders of pieces."""
    await owner.execute("alter table audit_events disable trigger user")
    await owner.execute(
        """insert into audit_events select 1000 + n, now(), 'a', 'b', null, null,
             jsonb_build_object('x', repeat(chr(97 + n % 26), $1::int)), '', '' from generate_series(1, 7) n""",
        PIECE // 3,
    )
    manifest = await create_backup(owner, tmp_path / "a.backup", plan)
    assert len([name for name in manifest.fields["members"] if name.startswith("ledger/audit_events/")]) == 3
    await bring_back(target, tmp_path / "a.backup", tmp_path / "keys")
    rows = "select seq, md5(detail::text) from audit_events where seq between 1001 and 1007 order by seq"
    assert await target.fetch(rows) == await owner.fetch(rows)


async def test_a_backup_beside_revocations_is_of_one_moment(
    owner: Connection, ledger: DatabaseURLs, target: Connection, plan: BackupPlan, tmp_path: Path
) -> None:
    """A revocation is committed after the first table was read: no table has it, and the chain holds."""
    path, psql = tmp_path / "a.backup", str(find_postgres().bin / "psql")
    sql = "insert into certificate_revocations (issuer_id, serial_number) values ('ca', '\x1011')"
    ran: list[int] = []

    def revoke_once(_: int) -> None:
        if not ran:
            ran.append(subprocess.run([psql, "-q", "-c", sql, "-d", ledger.owner], check=True).returncode)

    manifest = await create_backup(owner, path, plan, revoke_once)
    assert (ran, await owner.fetchval("select count(*) from certificate_revocations")) == ([0], 4)
    await bring_back(target, path, tmp_path / "keys")
    assert await target.fetchval("select count(*) from certificate_revocations") == 3
    assert await target.fetchval("select count(*) from certificates where status = 'revoked'") == 3
    assert manifest.fields["feed"]["seq"] == 1
    assert (await verify_audit(target)).broken_at is None


async def test_another_key_of_the_same_name_is_kept(target: Connection, saved: Path, tmp_path: Path) -> None:
    """It is refused first, and with `replace` is left beside the archive's."""
    there = tmp_path / "keys" / "ca-ca.key"
    there.parent.mkdir()
    there.write_bytes(b"another")
    with pytest.raises(Refused, match="is another key"):
        await bring_back(target, saved, tmp_path / "keys")
    assert there.read_bytes() == b"another"
    await bring_back(target, saved, tmp_path / "keys", replace=True)
    assert there.with_name("ca-ca.key.replaced").read_bytes() == b"another"


async def test_audit_rows_that_wait_in_an_archive_come_before_the_row_of_its_restore(
    owner: Connection, target: Connection, plan: BackupPlan, tmp_path: Path
) -> None:
    """Many more than an append takes: a second run still finds that nothing but logins came after the restore."""
    await owner.execute(
        """do $$ begin for n in 1..3500 loop
             update issuers set crl_url = 'http://ca.example/' || n where issuer_id = 'ca';
           end loop; end $$"""
    )
    await create_backup(owner, tmp_path / "saved.backup", plan)
    await bring_back(target, tmp_path / "saved.backup", tmp_path / "keys")
    await target.execute("select audit_append('tests', 'edge-add', null, null, '{}')")
    assert [event.action for event in await list_audit(target, limit=2)] == ["edge-add", "restore"]
    assert not (await bring_back(target, tmp_path / "saved.backup", tmp_path / "keys")).loaded
    assert (await verify_audit(target)).broken_at is None
