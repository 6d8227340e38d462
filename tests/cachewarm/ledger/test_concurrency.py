"""Many writers at once: the feed has no gap, the audit chain no fork, nobody waits for ever."""

import asyncio

import asyncpg
import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger import issuer_states
from cachewarm.ledger.audit import append_audit, verify_audit
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.revocations import revoke, unhold
from responder.domain.status import CRLReason
from tests.cachewarm.ledger.conftest import serial
from tests.cachewarm.ledger.reading import GENESIS, FeedItem, feed_read, follows, items_of

WRITERS, EACH = 8, 40


async def write(url: str, number: int) -> None:
    """Revocations one by one, some rolled back, holds released, audit rows between."""
    connection = await connect(url)
    for turn in range(EACH):
        octets = serial(1000 + number * EACH + turn)
        if turn % 4 == 3:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(
                "insert into certificate_revocations (issuer_id, serial_number) values ('ca', $1)", octets
            )
            await transaction.rollback()
            await append_audit(connection, "tests", "note", detail={"turn": turn})
        elif turn % 4 == 2:
            await revoke(connection, "ca", octets, reason=CRLReason.certificateHold, actor="tests", allow_unknown=True)
            await unhold(connection, "ca", octets, actor="tests")
        else:
            await revoke(connection, "ca", octets, actor="tests", allow_unknown=True)
    await connection.close()


async def follow(url: str, until: asyncio.Event) -> list[FeedItem]:
    """A reader that polls all the while: every event it gets follows directly on the one before."""
    connection = await connect(url)
    generation, seq, chain = 1, 0, GENESIS
    found: list[FeedItem] = []
    while True:
        last = until.is_set()
        answer = await feed_read(connection, generation, seq, chain)
        assert answer.status == "ok"
        for event in answer.rows:
            assert follows(event, seq, chain)
            seq, chain = event.seq, event.chain
            found += items_of(event.payload)
        if last and seq == answer.head:
            await connection.close()
            return found
        await asyncio.sleep(0.005)


async def test_eight_writers_leave_no_gap(database: DatabaseURLs, writer: Connection, issuer: Issuer) -> None:
    """A reader that follows from the first event on misses none, in spite of rollbacks, and both chains hold."""
    until = asyncio.Event()
    reading = asyncio.create_task(follow(database.signer, until))
    async with asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            group.create_task(write(database.cli, number))
    until.set()
    found = await reading
    standing = {item.serial_number for item in found if item.op == 1} - {
        item.serial_number for item in found if item.op == 2
    }
    rows = await writer.fetch("select serial_number from certificate_revocations")
    assert standing == {row["serial_number"] for row in rows}
    assert len(standing) == WRITERS * EACH // 2
    assert (await verify_audit(writer)).broken_at is None


async def test_transactions_that_cross_do_not_deadlock(
    database: DatabaseURLs, writer: Connection, issuer: Issuer
) -> None:
    """Two that revoke the same two certificates in opposite order, with audit rows first: one waits, both finish."""
    first, second = await connect(database.cli), await connect(database.cli)

    async def both(connection: Connection, *numbers: int) -> None:
        async with connection.transaction():
            for number in numbers:
                await append_audit(connection, "tests", "note")
                await connection.execute(
                    """insert into certificate_revocations (issuer_id, serial_number) values ('ca', $1)
                       on conflict do nothing""",
                    serial(number),
                )
                await asyncio.sleep(0.05)

    await asyncio.gather(both(first, 1, 2), both(second, 2, 1))
    await first.close()
    await second.close()
    assert await writer.fetchval("select count(*) from certificate_revocations") == 2


async def test_a_stopped_revoker_is_thrown_out(database: DatabaseURLs, writer: Connection, issuer: Issuer) -> None:
    """lock_timeout and idle_in_transaction_session_timeout are set on every connection of ours."""
    assert await writer.fetchval("show lock_timeout") == "10s"
    assert await writer.fetchval("show idle_in_transaction_session_timeout") == "30s"
    stopped = await asyncpg.connect(database.cli, server_settings={"idle_in_transaction_session_timeout": "200ms"})
    await stopped.execute(
        "begin; insert into certificate_revocations (issuer_id, serial_number) values ('ca', '\\x77')"
    )
    result = await revoke(writer, "ca", serial(1), actor="tests")
    assert result.seq == 1
    stopped.terminate()


@pytest.mark.parametrize("is_removed", [False, True])
async def test_removal_while_a_revoker_holds_the_ledgers_lock_does_not_deadlock(
    database: DatabaseURLs, owner: Connection, writer: Connection, issuer: Issuer, is_removed: bool
) -> None:
    """A revocation refers to its issuer's row, which a removal or restoration that waits for the ledger's lock has."""
    change = "select issuer_restore('ca', 'tests')" if is_removed else "select issuer_remove('ca', true, 'tests')"
    if is_removed:
        await issuer_states.remove(writer, "ca", force=True, actor="tests")
    other = await connect(database.cli)
    async with writer.transaction():
        await append_audit(writer, "tests", "note")
        waiting = asyncio.create_task(other.fetchval(change))
        while await owner.fetchval("select count(*) from pg_locks where not granted") == 0:
            await asyncio.sleep(0.01)
        await writer.execute(
            "insert into certificate_revocations (issuer_id, serial_number) values ('ca', $1)", serial(1)
        )
    assert await waiting == ("removed" if is_removed else "active")
    await other.close()
