"""What plain SQL does to the revoked set: all of it in one transaction, or a clear refusal."""

import asyncio
from typing import Literal

import asyncpg
import pytest

from _fastocsp.revoked.rows import merge_groups
from cachewarm.ledger.audit import list_audit, verify_audit
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer
from responder.feed import poll
from tests.cachewarm.ledger.conftest import serial
from tests.cachewarm.ledger.reading import GENESIS, PURGE, RELEASE, REVOKE, FeedItem, feed_read, follows, items_of

INSERT = "insert into certificate_revocations (issuer_id, serial_number, reason) values ('ca', $1, $2)"
REVOKE_AT = "insert into certificate_revocations (issuer_id, serial_number, revoked_at) values ('ca', '\\x01', "
DELETE = "delete from certificate_revocations where serial_number = $1"


async def status(connection: Connection, number: int) -> object:
    """What the certificate's row says."""
    return await connection.fetchval("select status from certificates where serial_number = $1", serial(number))


async def items(connection: Connection) -> list[FeedItem]:
    """Every item of the feed, after the whole chain was followed from its beginning."""
    answer, seq, chain = await feed_read(connection, 0, 0, GENESIS), 0, GENESIS
    found: list[FeedItem] = []
    for event in answer.rows:
        assert follows(event, seq, chain)
        seq, chain = event.seq, event.chain
        found += items_of(event.payload)
    assert seq == answer.head
    return found


async def test_a_revocation_is_row_status_feed_and_audit_at_once(writer: Connection, issuer: Issuer) -> None:
    """One INSERT: certificate revoked, one item in the feed, one row in the audit chain with the login as its actor."""
    await writer.execute(INSERT, serial(1), 1)
    assert await status(writer, 1) == "revoked"
    (item,) = await items(writer)
    assert (item.op, item.issuer_no, item.serial_number, item.reason) == (REVOKE, issuer.issuer_no, serial(1), 1)
    event = (await list_audit(writer, serial_number=serial(1)))[0]
    assert (event.action, event.actor, event.detail["reason"]) == ("revoke", "fastocsp_cli", 1)


async def test_a_rolled_back_revocation_leaves_nothing(writer: Connection, issuer: Issuer) -> None:
    """Row, status, feed and audit fall together; the next number of the feed is not lost."""
    before = (await verify_audit(writer)).seq
    await writer.execute("begin")
    await writer.execute(INSERT, serial(1), 1)
    assert await status(writer, 1) == "revoked"
    await writer.execute("rollback")
    assert await status(writer, 1) == "good"
    assert await items(writer) == []
    assert (await verify_audit(writer)).seq == before


async def test_revocation_times_are_rounded_down(writer: Connection, issuer: Issuer) -> None:
    """999 ms are not a second: revocationTime in the feed never lies ahead of revoked_at."""
    await writer.execute(
        """insert into certificate_revocations (issuer_id, serial_number, revoked_at, invalidity_date)
           values ('ca', $1, $2::text::timestamptz, $3::text::timestamptz)""",
        serial(1),
        "2026-01-01 00:00:00.999Z",
        "2025-12-31 23:59:59.999Z",
    )
    (item,) = await items(writer)
    assert item.revoked_at == 1767225600
    payload = (await feed_read(writer, 0, 0, GENESIS)).rows[0].payload
    assert int.from_bytes(payload[-8:], "big") == 1767225599


@pytest.mark.parametrize(
    ("sql", "sqlstate"),
    [
        ("delete from certificate_revocations", "23001"),
        ("truncate certificate_revocations", "23001"),
        ("truncate certificates cascade", "23001"),
        ("truncate issuers cascade", "23001"),
        ("delete from certificates", "23001"),
        ("delete from issuers", "23503"),
        ("update certificate_revocations set reason = 6", "23001"),
        ("update certificate_revocations set serial_number = '\\x77'", "23001"),
        ("update certificate_revocations set revoked_at = now() + interval '2 minutes'", "23514"),
        ("update certificate_revocations set reason = 8", "23514"),
        ("update certificates set status = 'good'", "23001"),
        ("update certificates set not_after = now() - interval '1 day'", "23001"),
        ("update certificates set serial_number = '\\x77' where status = 'revoked'", "23001"),
        ("update issuers set issuer_id = 'other'", "23001"),
        ("insert into certificate_revocations (issuer_id, serial_number) values ('ca', '\\x0001')", "23514"),
        ("insert into certificate_revocations (issuer_id, serial_number) values ('ca', '')", "23514"),
        ("insert into certificate_revocations (issuer_id, serial_number) values ('none', '\\x01')", "23503"),
        (
            "insert into certificates (issuer_id, serial_number, not_before, not_after) values"
            " ('ca', '\\x51', now(), now()), ('none', '\\x51', now(), now())",
            "23503",
        ),
        (
            REVOKE_AT + "now() + interval '61 s')",
            "23514",
        ),
        (
            REVOKE_AT + "'infinity')",
            "23514",
        ),
    ],
)
@pytest.mark.parametrize("replica", [False, True])
async def test_what_would_undo_a_revocation_is_refused(
    owner: Connection, issuer: Issuer, sql: str, sqlstate: str, replica: bool
) -> None:
    """Even the owner, even with ordinary triggers off, gets a clear error and nothing changes."""
    await owner.execute(INSERT, serial(1), 1)
    before = await items(owner)
    if replica and sqlstate != "23503":
        await owner.execute("set session_replication_role = replica")
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await owner.execute(sql)
    assert refusal.value.sqlstate == sqlstate
    assert await items(owner) == before
    assert await status(owner, 1) == "revoked"


async def test_without_foreign_keys_a_revocation_of_nobody_is_still_refused(owner: Connection, issuer: Issuer) -> None:
    """As a replica the references are not checked: the trigger is, so no row is missing from the feed."""
    await owner.execute("set session_replication_role = replica")
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="does not exist"):
        await owner.execute("insert into certificate_revocations (issuer_id, serial_number) values ('none', '\\x01')")


@pytest.mark.parametrize("table", ["certificates", "certificate_revocations"])
async def test_an_issuer_with_rows_is_not_deleted(owner: Connection, issuer: Issuer, table: str) -> None:
    """By the trigger alone, as a replica checks no references; without rows it goes."""
    await owner.execute("set session_replication_role = replica")
    await owner.execute("delete from certificates")
    values = "now(), now()" if table == "certificates" else "now() - interval '1 h', null"
    columns = "not_before, not_after" if table == "certificates" else "revoked_at, invalidity_date"
    await owner.execute(f"insert into {table} (issuer_id, serial_number, {columns}) values ('ca', '\\x51', {values})")
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="has certificates or revocations"):
        await owner.execute("delete from issuers where issuer_id = 'ca'")
    if table == "certificates":
        await owner.execute("delete from certificates")
        assert await owner.execute("delete from issuers where issuer_id = 'ca'") == "DELETE 1"


async def test_deleting_an_issuer_waits_for_who_enters_its_rows(owner: Connection, writer: Connection) -> None:
    """As with a foreign key: the row is there first, and the issuer stays."""
    await owner.execute("insert into issuers (issuer_id, subject, cert_der) values ('new', 'CN=New', '\\x00')")
    await owner.execute("set session_replication_role = replica")
    entering = writer.transaction()
    await entering.start()
    await writer.execute(
        "insert into certificates (issuer_id, serial_number, not_before, not_after)"
        " values ('new', '\\x51', now(), now())"
    )
    deleting = asyncio.create_task(owner.execute("delete from issuers where issuer_id = 'new'"))
    while not await writer.fetchval("select exists (select from pg_locks where not granted)"):
        assert not deleting.done()
    await entering.commit()
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="has certificates or revocations"):
        await deleting


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_deleting_an_issuer_with_an_old_snapshot_is_refused(
    owner: Connection, writer: Connection, isolation: Literal["repeatable_read", "serializable"]
) -> None:
    """A row that was entered after the snapshot is not seen there: the issuer stays, and so does the row."""
    await owner.execute("insert into issuers (issuer_id, subject, cert_der) values ('new', 'CN=New', '\\x00')")
    await owner.execute("delete from issuer_certificates where issuer_id = 'new'")
    async with owner.transaction(isolation=isolation):
        assert await owner.fetchval("select count(*) from certificates where issuer_id = 'new'") == 0
        await writer.execute(
            "insert into certificates (issuer_id, serial_number, not_before, not_after)"
            " values ('new', '\\x51', now(), now())"
        )
        with pytest.raises(asyncpg.ActiveSQLTransactionError, match="READ COMMITTED"):
            async with owner.transaction():
                await owner.execute("delete from issuers where issuer_id = 'new'")
    assert await owner.fetchval("select exists (select from issuers where issuer_id = 'new')")


async def test_a_hold_is_released_by_deleting_it(writer: Connection, issuer: Issuer) -> None:
    """DELETE of a certificateHold: status good again, a release in the feed and in the audit chain."""
    await writer.execute(INSERT, serial(1), 6)
    await writer.execute(DELETE, serial(1))
    assert await status(writer, 1) == "good"
    assert [item.op for item in await items(writer)] == [REVOKE, RELEASE]
    assert [event.action for event in await list_audit(writer, serial_number=serial(1))] == ["release", "revoke"]


async def test_a_row_may_leave_once_its_certificate_has_expired(writer: Connection, issuer: Issuer) -> None:
    """A purge is an event of its own, the certificate goes on saying that it was revoked."""
    await writer.execute(INSERT, serial(9), 1)
    await writer.execute(DELETE, serial(9))
    assert [item.op for item in await items(writer)] == [REVOKE, PURGE]
    assert await status(writer, 9) == "revoked"


async def test_with_an_expired_certificate_goes_its_revocation(writer: Connection, issuer: Issuer) -> None:
    """Deleting the certificate first would leave a row that could never be purged."""
    await writer.execute(INSERT, serial(9), 1)
    await writer.execute("delete from certificates where serial_number = $1", serial(9))
    assert [item.op for item in await items(writer)] == [REVOKE, PURGE]
    assert await writer.fetchval("select count(*) from certificate_revocations") == 0


async def test_a_certificate_that_nobody_saw_counts_as_unexpired(writer: Connection, issuer: Issuer) -> None:
    """A mirrored revocation cannot be taken back."""
    await writer.execute(INSERT, b"\x77", 1)
    with pytest.raises(asyncpg.PostgresError, match="stays revoked"):
        await writer.execute(DELETE, b"\x77")


async def test_a_certificate_that_comes_after_its_revocation_is_revoked(writer: Connection, issuer: Issuer) -> None:
    """The status is right whichever row was first."""
    await writer.execute(INSERT, b"\x77", 1)
    await writer.execute(
        """insert into certificates (issuer_id, serial_number, not_before, not_after)
           values ('ca', '\\x77', now(), now() + interval '1 year')"""
    )
    assert await writer.fetchval("select status from certificates where serial_number = '\\x77'") == "revoked"


async def test_a_change_is_announced_and_a_vain_one_is_not(writer: Connection, issuer: Issuer) -> None:
    """Reason and times go to the feed; an UPDATE that changes nothing says nothing."""
    await writer.execute(INSERT, serial(1), 6)
    await writer.execute("update certificate_revocations set reason = 1")
    await writer.execute("update certificate_revocations set reason = 1, revoked_by = 'x'")
    assert [(item.op, item.reason) for item in await items(writer)] == [(REVOKE, 6), (REVOKE, 1)]


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_only_read_committed_may_revoke(
    writer: Connection, issuer: Issuer, isolation: Literal["repeatable_read", "serializable"]
) -> None:
    """An old snapshot would fork the chain."""
    with pytest.raises(asyncpg.PostgresError, match="READ COMMITTED"):
        async with writer.transaction(isolation=isolation):
            await writer.execute(INSERT, serial(1), 1)


async def test_a_large_statement_is_cut_into_events_of_a_thousand(writer: Connection, issuer: Issuer) -> None:
    """2,500 rows in one INSERT are three events, in key order, none missing."""
    await writer.execute(
        """insert into certificate_revocations (issuer_id, serial_number)
           select 'ca', int8send(1152921504606846976 + n) from generate_series(1, 2500) n"""
    )
    found = await items(writer)
    assert len({item.serial_number for item in found}) == 2500
    assert [item.serial_number for item in found] == sorted(item.serial_number for item in found)
    assert await writer.fetchval("select array_agg(n order by seq) from revocation_events") == [1000, 1000, 500]


async def test_the_snapshot_holds_exactly_what_the_feed_says(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """Replaying the feed and reading feed_snapshot give the same items; its columns are what an edge makes of them."""
    for number, reason in [(1, 1), (2, 6), (3, 6), (9, 4)]:
        await writer.execute(INSERT, serial(number), reason)
    await writer.execute(REVOKE_AT + "'1970-01-01 00:00:00.999999+00')")
    await writer.execute("update certificate_revocations set reason = 5 where serial_number = $1", serial(2))
    for number in (3, 9):
        await writer.execute(DELETE, serial(number))
    replayed = {}
    for item in await items(writer):
        replayed[item.serial_number] = item
    replayed = {key: item for key, item in replayed.items() if item.op == REVOKE}
    snapshot = [items_of(row["item"])[0] for row in await reader.fetch("select item from feed_snapshot")]
    assert {item.serial_number: item for item in snapshot} == replayed
    assert set(replayed) == {serial(1), serial(2), b"\x01"}
    groups = (await poll.snapshot(reader)).groups
    plain = [(i.op, i.issuer_no, i.serial_number, i.revoked_at, i.reason) for i in replayed.values()]
    assert groups == merge_groups({}, plain)


async def test_two_issuers_with_one_certificate_are_refused(writer: Connection, issuer: Issuer) -> None:
    """A CertID would name both."""
    with pytest.raises(asyncpg.UniqueViolationError):
        await writer.execute(
            "insert into issuers (issuer_id, subject, cert_der) select 'twin', subject, cert_der from issuers"
        )
