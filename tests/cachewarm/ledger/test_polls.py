"""feed_poll, whose it is, leases, horizon, epochs and trimming."""

import asyncio
import uuid
from datetime import timedelta

import asyncpg
import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.edges import lapse, refusals, remove_edge
from cachewarm.ledger.feed import (
    Lease,
    feed_horizon,
    feed_position,
    leases,
    set_horizon,
    trim_feed,
    unacked,
)
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.revocations import revoke
from responder.feed.machine import FIRST
from tests.cachewarm.ledger.conftest import serial
from tests.cachewarm.ledger.reading import GENESIS, feed_read

BOOT = uuid.UUID(int=1)
POLL = "select * from feed_poll($1, $2, $3, $4, $5, $6)"
H = timedelta(seconds=30)
LOST = "(leases before generation 2)"


async def poll(
    connection: Connection,
    *,
    edge: str = "a",
    boot: uuid.UUID = BOOT,
    horizon: timedelta | None = H,
    generation: int = 1,
    seq: int = 0,
    chain: bytes | None = GENESIS,
) -> list[asyncpg.Record]:
    """What an edge asks."""
    return await connection.fetch(POLL, edge, boot, horizon, generation, seq, chain)


async def revoke_some(writer: Connection, *numbers: int) -> None:
    """An event for each."""
    for number in numbers:
        await revoke(writer, "ca", serial(number), actor="tests")


async def test_a_poll_answers_with_what_follows_and_leaves_a_lease(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """The edge at 1 gets 2 and 3; its row says what it acknowledged and counts its renewals."""
    await revoke_some(writer, 1, 2, 3)
    first = await poll(reader)
    assert [(row["status"], row["seq"], row["head"]) for row in first] == [(FIRST, 1, 3), (FIRST, 2, 3), (FIRST, 3, 3)]
    second = await poll(reader, seq=1, chain=first[0]["chain"])
    assert [row["seq"] for row in second] == [2, 3]
    (lease, *_) = await leases(writer)
    assert (lease.edge, lease.boot, lease.acked_gen, lease.acked, lease.renewals, lease.horizon) == (
        "a",
        BOOT,
        1,
        1,
        2,
        H,
    )
    (at_head,) = await poll(reader, seq=3, chain=first[2]["chain"])
    assert (at_head["status"], at_head["seq"], at_head["payload"]) == ("ok", None, None)


def names(lagging: list[Lease] | None) -> list[str]:
    """Of the edges; the head was free."""
    assert lagging is not None
    return [lease.edge for lease in lagging]


@pytest.mark.parametrize(("seq", "chain"), [(3, GENESIS), (99, GENESIS), (2, None)])
async def test_another_history_is_diverged_and_acknowledges_nothing(
    reader: Connection, writer: Connection, issuer: Issuer, seq: int, chain: bytes | None
) -> None:
    """A number ahead of the head, or a chain that is not ours: no rows, and a waiter goes on waiting for this edge."""
    await revoke_some(writer, 1, 2, 3)
    rows = await poll(reader, seq=seq, chain=chain)
    assert [(row["status"], row["seq"]) for row in rows] == [("diverged", None)]
    assert names(await unacked(writer, 1, 1)) == ["a"]


async def test_trimming_keeps_what_a_live_lease_needs(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """feed_trim stops at the slowest lease younger than an hour; an old lease does not hold it."""
    await revoke_some(writer, 1, 2, 3, 4)
    rows = await poll(reader)
    await poll(reader, seq=2, chain=rows[1]["chain"])
    assert await trim_feed(writer, keep=0) == 2
    assert [row["status"] for row in await poll(reader, edge="b", seq=1, chain=rows[0]["chain"])] == ["trimmed"]
    assert [row["seq"] for row in await poll(reader, seq=2, chain=rows[1]["chain"])] == [3, 4]
    assert [row["status"] for row in await poll(reader, edge="c", seq=2, chain=GENESIS)] == ["diverged"]
    assert await remove_edge(writer, "b", actor="tests")
    assert await remove_edge(writer, "c", actor="tests")
    assert await trim_feed(writer, keep=0) == 0


async def test_an_old_lease_does_not_hold_the_outbox(reader: Connection, owner: Connection, issuer: Issuer) -> None:
    """After an hour without a poll an edge takes a snapshot; keep says how many events stay for others."""
    await revoke_some(owner, 1, 2, 3, 4)
    await poll(reader)
    await owner.execute("update edge_lease set at = now() - interval '61 minutes'")
    assert await trim_feed(owner, keep=1) == 3
    position = await feed_position(reader)
    assert (position.base, position.seq) == (3, 4)
    assert await trim_feed(owner, keep=1) == 0
    await revoke_some(owner, 5)
    assert (await feed_position(reader)).seq == 5


@pytest.mark.parametrize("horizon", [timedelta(seconds=31), timedelta(0), None])
async def test_a_horizon_above_the_global_one_is_refused(
    reader: Connection, issuer: Issuer, horizon: timedelta | None
) -> None:
    """The waiter relies on the global horizon: no lease is longer, and none is without one."""
    with pytest.raises(asyncpg.DataError, match="horizon"):
        await poll(reader, horizon=horizon)


async def test_the_horizon_is_settable_and_old_leases_still_count(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """Lowered to 5 s: new leases obey, a waiter still waits for the 30 s lease given before."""
    await poll(reader)
    await set_horizon(writer, 5)
    with pytest.raises(asyncpg.DataError, match="at most 00:00:05"):
        await poll(reader)
    assert await feed_horizon(writer) == H
    await poll(reader, horizon=timedelta(seconds=5))
    assert await feed_horizon(writer) == timedelta(seconds=5)
    for seconds in (1, 3601):
        with pytest.raises(Refused):
            await set_horizon(writer, seconds)


async def test_a_restored_or_promoted_copy_begins_a_new_generation(
    reader: Connection, owner: Connection, issuer: Issuer
) -> None:
    """The first poll on another system or timeline bumps the generation once; old acknowledgements no longer count."""
    await revoke_some(owner, 1)
    rows = await poll(reader)
    await poll(reader, seq=1, chain=rows[0]["chain"])
    assert await unacked(owner, 1, 1) == []
    await owner.execute("update feed_head set tli = '00000000'")
    for _ in range(2):
        await feed_read(owner, 0, 0, GENESIS)
        assert (await poll(reader, seq=1, chain=rows[0]["chain"]))[0]["gen"] == 2
    assert names(await unacked(owner, 2, 1)) == [LOST, "a"]
    await owner.execute("update edge_lease set at = now() - interval '32 seconds' where edge = $1", LOST)
    await poll(reader, generation=2, seq=1, chain=rows[0]["chain"])
    assert await unacked(owner, 2, 1) == []


async def test_leases_that_a_failover_lost_are_waited_for(owner: Connection, issuer: Issuer) -> None:
    """The standby never heard of an edge; the waiter, who is the first to look, does not take that for consent."""
    await revoke_some(owner, 1)
    await owner.execute("update feed_head set tli = '00000000'")
    assert names(await unacked(owner, 1, 1)) == [LOST]
    await owner.execute("update edge_lease set at = now() - interval '31.4 seconds'")
    assert names(await unacked(owner, 2, 1)) == []


async def test_a_reader_without_a_lease_leaves_no_row(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """The warmer's and the signer's polls promise nothing about anybody's answers."""
    await revoke_some(writer, 1)
    before = await leases(writer)
    assert [event.seq for event in (await feed_read(reader, 0, 0, GENESIS)).rows] == [1]
    assert await leases(writer) == before


async def test_the_waiter_sees_the_poll_that_was_in_flight(
    database: DatabaseURLs, reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """A poll that read the old head but has not committed yet is not overlooked, and nobody waits for it: its row was
    committed before it began.
    """
    await poll(reader)
    edge = await connect(database.edge)
    transaction = edge.transaction()
    await transaction.start()
    assert (await poll(edge))[0]["status"] == "ok"
    result = await revoke(writer, "ca", serial(1), actor="tests")
    assert names(await unacked(writer, result.generation, result.seq)) == ["a"]
    await transaction.commit()
    assert names(await unacked(writer, result.generation, result.seq)) == ["a"]
    await edge.close()


async def test_the_first_poll_of_a_life_gives_no_lease(
    database: DatabaseURLs, writer: Connection, reader: Connection, issuer: Issuer
) -> None:
    """Its rows may be followed, but nobody who waits could have known of it. A second one at the same time, which began
    before the first was committed, gives a lease only of a head that was read after that.
    """
    other = await connect(database.edge)
    transaction = other.transaction()
    await transaction.start()
    assert [row["status"] for row in await poll(other)] == ["first"]
    second = asyncio.create_task(poll(reader))
    await asyncio.sleep(0.1)
    assert not second.done()
    result = await revoke(writer, "ca", serial(1), actor="tests")
    assert names(await unacked(writer, result.generation, result.seq)) == []
    await transaction.commit()
    assert [(row["status"], row["head"]) for row in await second] == [("ok", result.seq)]
    assert [row["status"] for row in await poll(reader, boot=uuid.UUID(int=2))] == ["first"]
    await other.close()


async def test_a_login_polls_for_its_own_edge_alone(
    database: DatabaseURLs, reader: Connection, writer: Connection, owner: Connection, issuer: Issuer
) -> None:
    """The signer's login, and the owner's, get no lease in the name of an edge, nor does an edge that nobody added.
    What they say acknowledges nothing, and who tried it is kept, one row for each login.
    """
    await poll(reader)
    await poll(reader)
    result = await revoke(writer, "ca", serial(1), actor="tests")
    signer = await connect(database.signer)
    position = await feed_position(writer)
    for connection in (signer, owner):
        (row,) = await poll(connection, seq=result.seq, chain=position.chain)
        assert (row["status"], row["gen"], row["payload"]) == ("refused", 0, None)
    assert [row["status"] for row in await poll(reader, edge="nobody")] == ["refused"]
    assert names(await unacked(writer, result.generation, result.seq)) == ["a"]
    assert {(one.login, one.edge, one.address) for one in await refusals(writer)} == {
        ("fastocsp_signer", "a", "local"),
        ("fastocsp", "a", "local"),
        ("fastocsp_edge", "nobody", "local"),
    }
    await signer.close()


async def test_a_stolen_login_cannot_speak_for_the_lease_before(
    reader: Connection, writer: Connection, owner: Connection, issuer: Issuer
) -> None:
    """A life that cannot name the one before it may acknowledge what it likes: the lease of the life before is waited
    for until it has run out. A restart of the same host names it, and nobody waits.
    """
    for boot in (BOOT, BOOT):
        await poll(reader, boot=boot)
    result = await revoke(writer, "ca", serial(1), actor="tests")
    chain = (await feed_position(writer)).chain
    stranger = uuid.UUID(int=99)
    for _ in range(2):
        await poll(reader, boot=stranger, seq=result.seq, chain=chain)
    assert names(await unacked(writer, result.generation, result.seq)) == ["(an earlier life of a)"]
    await owner.execute("update edge_lease set at = now() - interval '31.4 seconds' where login is null")
    assert names(await unacked(writer, result.generation, result.seq)) == []
    arguments = ("a", uuid.UUID(int=3), H, 1, result.seq, chain, 500, [BOOT, stranger])
    await reader.fetch("select * from feed_poll($1, $2, $3, $4, $5, $6, $7, $8)", *arguments)
    assert names(await unacked(writer, result.generation, result.seq)) == []


async def test_a_removed_edge_is_refused_and_its_lease_waited_for(
    reader: Connection, writer: Connection, owner: Connection, issuer: Issuer
) -> None:
    """What it was told before it was removed holds for a horizon; one that never had a lease leaves nothing."""
    await poll(reader)
    await poll(reader)
    result = await revoke(writer, "ca", serial(1), actor="tests")
    assert await remove_edge(writer, "a", actor="tests") == "fastocsp_edge"
    assert await remove_edge(writer, "b", actor="tests") == "fastocsp_edge"
    assert await remove_edge(writer, "a", actor="tests") is None
    assert [row["status"] for row in await poll(reader)] == ["refused"]
    assert names(await unacked(writer, result.generation, result.seq)) == ["(a removed edge: a)"]
    await owner.execute("update edge_lease set at = now() - interval '31.4 seconds' where login is null")
    assert names(await unacked(writer, result.generation, result.seq)) == []
    assert [lease.edge for lease in await leases(writer)] == ["c"]


async def test_a_lease_that_has_run_out_is_waited_for_no_longer(
    reader: Connection, writer: Connection, owner: Connection, issuer: Issuer
) -> None:
    """edge_lapse believes nobody's clock alone: not before a horizon has passed here too, and not after a renewal."""
    await poll(reader)
    await poll(reader)
    result = await revoke(writer, "ca", serial(1), actor="tests")
    assert not await lapse(writer, "a", 2)
    await owner.execute("update edge_lease set at = now() - interval '32 seconds' where edge = 'a'")
    assert not await lapse(writer, "a", 1)
    assert await lapse(writer, "a", 2)
    assert names(await unacked(writer, result.generation, result.seq)) == []
    assert [row["status"] for row in await poll(reader)] == ["first"]


async def test_only_a_writer_begins_a_generation(
    reader: Connection, writer: Connection, owner: Connection, issuer: Issuer
) -> None:
    """What that locks, its transaction keeps: an edge's poll is an error until a writer has looked."""
    await owner.execute("update feed_head set tli = '00000000'")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="no writer has begun"):
        await poll(reader)
    await feed_read(writer, 0, 0, GENESIS)
    assert (await poll(reader))[0]["gen"] == 2


async def test_two_hosts_under_one_name_are_found_out(reader: Connection, issuer: Issuer) -> None:
    """The life that was taken over from never polls again: it would acknowledge for the other one."""
    second = uuid.UUID(int=2)
    await poll(reader)
    await poll(reader, boot=second)
    with pytest.raises(asyncpg.UniqueViolationError, match="its own name"):
        await poll(reader)
    await poll(reader, boot=second)
