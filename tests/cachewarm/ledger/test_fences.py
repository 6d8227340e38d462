"""Which restores and failovers fence issuers, who may lift a fence, and what the feed tells of it."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from _fastocsp.revoked.ledger_wire import parse_items
from _fastocsp.wire.types import Item
from cachewarm.errors import Refused
from cachewarm.ledger import fences
from cachewarm.ledger.audit import verify_audit
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.feed import begin_generation, payloads_after, unacked
from cachewarm.ledger.issuers import Issuer, add_issuer
from cachewarm.ledger.revocations import revoke
from responder.feed.poll import snapshot
from tests.cachewarm.ledger.conftest import serial
from tests.cachewarm.ledger.reading import GENESIS

AS_OF = "(select 500 from set_config('fastocsp.as_of', $7, true))"
POLL = f"select p.* from feed_poll($1, $2, $3, $4, $5, $6, {AS_OF}) p"
H = timedelta(seconds=30)
BOOT = uuid.UUID(int=1)
Place = tuple[int, int, bytes]
BEGINNING: Place = (1, 0, GENESIS)


async def poll(connection: Connection, edge: str | None, place: Place, *, away_s: int = 0) -> asyncpg.Record:
    """What a reader asks that had its last lease so long ago; the first row."""
    as_of = str(int(datetime.now(UTC).timestamp()) - away_s)
    rows = await connection.fetch(POLL, edge, BOOT, H, *place, as_of)
    return rows[0]


async def head(connection: Connection) -> Place:
    """Where the ledger is."""
    row = await connection.fetchrow("select generation, seq, chain from feed_position")
    assert row is not None
    return row["generation"], row["seq"], row["chain"]


async def promote(owner: Connection) -> None:
    """As a standby that has the same rows."""
    await owner.execute("update feed_head set tli = '00000000'")


async def reasons(connection: Connection) -> dict[str, str]:
    """Of the fences that are there."""
    return {fence.issuer_id: fence.reason for fence in await fences.open_fences(connection)}


async def fence_items(connection: Connection) -> list[Item]:
    """Of the feed."""
    items = [item for payload in await payloads_after(connection, 0) for item in parse_items(payload)]
    return [item for item in items if not item[2]]


@pytest.fixture
async def other(writer: Connection, issuer: Issuer) -> Issuer:
    """A second issuer."""
    return await add_issuer(writer, "other", subject="CN=Other", cert_der=b"another certificate", actor="tests")


async def test_a_new_ledger_fences_nothing(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """Nor does an edge that had no position, or a failover of nothing."""
    await poll(writer, None, BEGINNING)
    for _ in range(2):
        await poll(reader, "a", BEGINNING)
    assert await reasons(writer) == {}


async def test_a_restore_fences_every_issuer_in_the_transaction_of_its_generation(
    reader: Connection, writer: Connection, issuer: Issuer, other: Issuer
) -> None:
    """The items are in the feed before any lease of the new generation, the fences in every snapshot, and audited; an
    issuer that is added later is not fenced.
    """
    await revoke(writer, "ca", serial(1), actor="tests")
    newest = await writer.fetchval("select at from audit_events order by seq desc limit 1")
    assert await begin_generation(writer) == 2
    assert await reasons(writer) == {"ca": "restored", "other": "restored"}
    assert [item[:3] for item in await fence_items(writer)] == [(1, 1, b""), (1, 2, b"")]
    await add_issuer(writer, "third", subject="CN=Third", cert_der=b"a third certificate", actor="tests")
    read = await snapshot(reader)
    assert sorted(read.groups) == [(1, 0), (1, 8), (2, 0)]
    (ca, _) = await fences.open_fences(writer)
    assert (ca.gap_from, ca.gap == (ca.gap_from, ca.gap_until), ca.generation) == (newest, True, 2)
    assert await writer.fetchval("select count(*) from audit_events where action = 'fence set'") == 2
    assert (await verify_audit(writer)).broken_at is None


@pytest.mark.parametrize(
    ("moved", "reason"),
    [
        ("update feed_head set sysid = 1", "new server"),
        ("update feed_home set relation = 1", "restored"),
    ],
)
async def test_a_restored_dump_is_fenced_by_the_first_look_of_a_writer(
    reader: Connection, owner: Connection, issuer: Issuer, moved: str, reason: str
) -> None:
    """On another server or the same one, whatever witnesses know: it may be older than they are. Until then it is not
    read.
    """
    place = await head(owner)
    await poll(owner, None, place)
    await owner.execute(moved)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await poll(reader, "a", place)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await snapshot(reader)
    await poll(owner, None, place)
    assert await reasons(owner) == {"ca": reason}


async def test_a_warmer_that_finds_its_place_is_a_witness_of_a_promotion(owner: Connection, issuer: Issuer) -> None:
    """Also when it lags behind by a revocation."""
    place = await head(owner)
    await revoke(owner, "ca", serial(1), actor="tests")
    await promote(owner)
    row = await poll(owner, None, place)
    assert (row["gen"], row["status"], row["seq"]) == (2, "ok", 1)
    assert await reasons(owner) == {}


@pytest.mark.parametrize(
    ("place", "away_s", "reason"),
    [
        ((1, 1, None), 3600, "promoted"),
        ((0, 0, GENESIS), 0, "promoted"),
        ((1, 2, GENESIS), 0, "diverged"),
        ((1, 1, GENESIS), 0, "diverged"),
        ((9, 1, None), 0, "diverged"),
    ],
    ids=["was away", "had no place", "is ahead", "has another history", "has a later generation"],
)
async def test_a_promotion_without_a_witness_is_fenced(
    owner: Connection, issuer: Issuer, place: tuple[int, int, bytes | None], away_s: int, reason: str
) -> None:
    """And a warmer that the ledger has been behind of sets the fences itself, once."""
    await revoke(owner, "ca", serial(1), actor="tests")
    chain = (await head(owner))[2]
    await promote(owner)
    for _ in range(3):
        await poll(owner, None, (*place[:2], place[2] or chain), away_s=away_s)
    assert await reasons(owner) == {"ca": reason}
    assert len(await fence_items(owner)) == 1


@pytest.mark.parametrize("away_s", [0, 3600])
async def test_edges_lift_the_fence_of_a_promotion_only_together(
    reader: Connection, owner: Connection, issuer: Issuer, away_s: int
) -> None:
    """One of two is not enough, nor one that was away for long: it may be captured, or know less than was lost."""
    place = await head(owner)
    for edge in ("a", "b"):
        for _ in range(2):
            await poll(reader, edge, place)
    await promote(owner)
    await unacked(owner, 1, 0)
    assert await reasons(owner) == {"ca": "promoted"}
    await poll(reader, "a", place)
    await poll(owner, None, await head(owner))
    assert await reasons(owner) == {"ca": "promoted"}
    await poll(reader, "b", place, away_s=away_s)
    await poll(owner, None, await head(owner))
    assert (await reasons(owner) == {}) is not bool(away_s)
    assert [item[0] for item in await fence_items(owner)] == ([1] if away_s else [1, 2])


async def test_a_warmer_lifts_the_fence_of_a_promotion_that_another_command_found(
    owner: Connection, issuer: Issuer
) -> None:
    """A `revoke --wait` may be the first to look at the new primary, and has no place of its own."""
    place = await head(owner)
    await promote(owner)
    await unacked(owner, 1, 0)
    assert await reasons(owner) == {"ca": "promoted"}
    await poll(owner, None, place)
    assert await reasons(owner) == {}


async def test_a_second_promotion_is_lifted_by_no_witness_of_the_first(
    reader: Connection, owner: Connection, issuer: Issuer
) -> None:
    """One that found its place between the two knows nothing of the second, and one that began between them nothing of
    the first.
    """
    place = await head(owner)
    for _ in range(2):
        await poll(reader, "a", place)
    await promote(owner)
    await unacked(owner, 1, 0)
    between = await head(owner)
    for _ in range(2):
        await poll(reader, "b", between)
    await poll(reader, "a", place)
    await promote(owner)
    await unacked(owner, 1, 0)
    assert (await head(owner))[0] == 3
    for edge in ("a", "b"):
        await poll(reader, edge, between)
    await poll(owner, None, between)
    await poll(owner, None, await head(owner))
    assert await reasons(owner) == {"ca": "promoted"}


@pytest.mark.parametrize("edge", ["a", None], ids=["edge", "signer"])
async def test_a_reader_of_another_history_stops_every_lease_until_a_writer_fences(
    reader: Connection, writer: Connection, issuer: Issuer, edge: str | None
) -> None:
    """Its own poll is answered, others fail; no poll gets past the fence. The same place told again fences nothing
    more, and no witness lifts it.
    """
    await revoke(writer, "ca", serial(1), actor="tests")
    place = await head(writer)
    await poll(reader, "b", place)
    assert (await poll(reader, edge, (1, 7, GENESIS)))["status"] == "diverged"
    assert await reasons(writer) == {}
    for polls in (poll(reader, "b", place), poll(reader, "c", BEGINNING)):
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await polls
    await unacked(writer, 1, 0)
    assert await reasons(writer) == {"ca": "diverged"}
    row = await poll(reader, "b", place)
    assert (row["seq"], row["head"]) == (2, 2)
    await poll(reader, edge, (1, 7, GENESIS))
    await poll(writer, None, await head(writer))
    assert len(await fence_items(writer)) == 1
    detail = await writer.fetchval("select detail from audit_events where action = 'fence set'")
    assert json.loads(detail)["witnesses"][0]["edge"] == (edge or "")


async def test_a_captured_reader_fences_once_and_delays_no_polls_after_it(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """However often it tells of another place: neither feed nor audit chain grows."""
    for seq in range(7, 10):
        await poll(reader, "a", (1, seq, GENESIS))
        await poll(writer, None, await head(writer))
    await poll(reader, "a", (1, 10, GENESIS))
    for _ in range(2):
        assert (await poll(reader, "b", await head(writer)))["gen"] == 1
    assert len(await fence_items(writer)) == 1
    assert await writer.fetchval("select count(*) from audit_events where action = 'fence set'") == 1


async def test_a_reader_that_keeps_its_row_locked_stops_no_settling(
    reader: Connection, writer: Connection, issuer: Issuer
) -> None:
    """A captured edge can set a fence, and hold up neither its settling nor the leases of others."""
    await poll(reader, "a", (1, 7, GENESIS))
    async with reader.transaction():
        await poll(reader, "a", (1, 8, GENESIS))
        await unacked(writer, 1, 0)
        assert await reasons(writer) == {"ca": "diverged"}
        await poll(writer, None, await head(writer))


async def test_a_fence_is_lifted_when_evidence_covers_its_gap(writer: Connection, issuer: Issuer) -> None:
    """Not before; evidence adds up, and everything may be repeated. The item that lifts it comes last in the feed."""
    assert not await fences.cover(writer, "ca", fences.ALWAYS, {}, actor="tests")
    await begin_generation(writer)
    (fence,) = await fences.open_fences(writer)
    assert not await fences.lift(writer, "ca", actor="tests")
    middle = fence.gap_from + (fence.gap_until - fence.gap_from) / 2
    for until in (middle, fence.gap_from):
        assert await fences.cover(writer, "ca", until, {"document": "CRL 7"}, actor="tests")
        (fence,) = await fences.open_fences(writer)
        assert fence.gap == (middle, fence.gap_until)
        assert not await fences.lift(writer, "ca", actor="tests")
    assert await fences.cover(writer, "ca", fence.gap_until, {"statement": "so it is"}, actor="tests")
    assert await fences.lift(writer, "ca", actor="tests")
    assert not await fences.lift(writer, "ca", actor="tests")
    assert [item[0] for item in await fence_items(writer)] == [1, 2]
    kept = await writer.fetchrow("select lifted_by, evidence from issuer_fences")
    assert kept is not None
    assert kept["lifted_by"] == "tests"
    assert [each["actor"] for each in json.loads(kept["evidence"])] == ["tests"] * 3


async def test_a_second_restore_opens_the_gap_again(writer: Connection, issuer: Issuer) -> None:
    """A statement covers nothing that happens after it; what was covered before stays so."""
    await begin_generation(writer)
    (first,) = await fences.open_fences(writer)
    await fences.cover(writer, "ca", fences.ALWAYS, {"statement": "so it is"}, actor="tests")
    await begin_generation(writer)
    (second,) = await fences.open_fences(writer)
    assert second.gap is not None
    assert (second.gap_from, second.gap_until > first.gap_until) == (first.gap_from, True)
    assert not await fences.lift(writer, "ca", actor="tests")


async def test_the_fence_goes_with_its_issuer(owner: Connection, other: Issuer) -> None:
    """Edges do not keep it."""
    await begin_generation(owner)
    await owner.execute("delete from issuer_certificates where issuer_id = 'other'")
    await owner.execute("delete from issuers where issuer_id = 'other'")
    assert (await fence_items(owner))[-1][:3] == (2, 2, b"")
    assert set(await reasons(owner)) == {"ca"}


async def test_a_reader_lifts_nothing(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """Nor covers."""
    await begin_generation(writer)
    for call in (fences.lift(reader, "ca", actor="x"), fences.cover(reader, "ca", fences.ALWAYS, {}, actor="x")):
        with pytest.raises(Refused):
            await call
