"""Rounds of the walk: what wakes segments, how the rest is verified, and how warmers share."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cachewarm.errors import Transient
from cachewarm.ledger import warmers
from cachewarm.ledger.connect import connect
from cachewarm.ledger.coverage import read_coverage
from cachewarm.records.signing_pool import SigningPool
from cachewarm.warmer import store_watch, walk_rounds
from cachewarm.warmer.inventory_walk import Walk
from cachewarm.warmer.responder_rotation import rotate_due
from cachewarm.warmer.walk_rounds import WalkRounds
from responder.domain.key import Key
from responder.domain.redis_layout import WARM_MARK, WARMING, record_name
from responder.domain.status import PRESIGNED
from tests.support.plant import Plant


def made(plant: Plant, interval_s: float = 30, batch: int = 2) -> tuple[Walk, WalkRounds]:
    """A walk in small segments, and its rounds."""
    walk = Walk(plant.pipeline, plant.publisher, lambda: plant.ring, plant.now, batch, SigningPool(0))
    return walk, WalkRounds(walk, plant.publisher, interval_s, "tests")


async def tick(plant: Plant, walk: Walk, rounds: WalkRounds) -> int:
    """One round; how many records were signed."""
    walk.follow()
    return (await rounds.tick(plant.connection, plant.now())).signed


async def lose(plant: Plant, count: int) -> None:
    """So many records go from Redis, as by eviction."""
    client: Any = plant.publisher._client
    keys = [Key(plant.issuer.issuer_no, each, leaf.serial) for leaf in plant.leaves for each in PRESIGNED]
    assert await client.delete(*map(record_name, keys[:count])) == count


async def test_nothing_is_visited_while_nothing_is_due(plant: Plant) -> None:
    """After the first round a lost record stays lost until a verifying visit comes by."""
    walk, rounds = made(plant)
    assert await tick(plant, walk, rounds) == 12
    [row] = await read_coverage(plant.connection)
    assert (row.inventory, row.covered) == (6, 6)
    await lose(plant, 3)
    assert await tick(plant, walk, rounds) == 0
    later = WalkRounds(walk, plant.publisher, -1, "tests")
    assert sum([await tick(plant, walk, later) for _ in range(3)]) == 3


async def test_verifying_stays_within_its_share(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A visit that costs more than was saved up is paid for before the next one."""
    walk, rounds = made(plant, interval_s=-1)
    monkeypatch.setattr(walk_rounds, "VERIFYING_SHARE", 1e-9)
    await tick(plant, walk, rounds)
    rounds._credit = 1e-6
    verified = [(await rounds.tick(plant.connection, plant.now())).inventory for _ in range(3)]
    assert rounds._credit < 0
    assert verified[0] <= 2
    assert verified[1:] == [0, 0]


@pytest.mark.parametrize("what", ["emptied", "restarted", "evicts records"])
async def test_a_loss_of_records_is_repaired(plant: Plant, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emptied: no mark of a walk. Restarted or evicting, as INFO says: the mark is there, records are not."""
    monkeypatch.setattr(store_watch, "COUNTERS_S", 0.0)
    monkeypatch.setattr(store_watch, "EVICTION_FACTOR", 0.0)
    walk, rounds = made(plant, interval_s=0.001)
    monkeypatch.setattr(walk_rounds, "VERIFYING_SHARE", 0.0)
    rounds._credit = 0.0
    seen = ["run-1", 5]
    monkeypatch.setattr(type(plant.publisher), "losses", _returning(seen))
    assert await tick(plant, walk, rounds) == 12
    assert await tick(plant, walk, rounds) == 0
    client: Any = plant.publisher._client
    await lose(plant, 4)
    if what == "emptied":
        await client.delete(WARM_MARK)
    seen[:] = ["run-2" if what == "restarted" else "run-1", 9 if what == "evicts records" else 5]
    await asyncio.sleep(0.002)
    assert await tick(plant, walk, rounds) == 4
    assert await tick(plant, walk, rounds) == 0
    assert await client.exists(WARM_MARK)


def _returning(seen: list[Any]) -> Callable[..., Any]:
    async def losses(_: object) -> tuple[str, int]:
        return str(seen[0]), int(seen[1])

    return losses


async def test_counters_are_read_from_a_real_server(plant: Plant) -> None:
    """The writer's login may run INFO on the embedded server."""
    seen = await plant.publisher.losses()
    assert seen is not None
    assert len(seen[0]) == 40


async def test_a_redis_emptied_during_a_whole_walk_is_walked_again(plant: Plant) -> None:
    """The mark is only set where the note of the walk's beginning is still there."""
    walk, rounds = made(plant)
    client: Any = plant.publisher._client
    await plant.publisher.begin_warming("tests")
    await client.delete(WARMING)
    assert not await plant.publisher.mark_warm("tests")
    assert not await client.exists(WARM_MARK)
    assert await tick(plant, walk, rounds) == 12
    assert await client.exists(WARM_MARK)
    assert not await client.exists(WARMING)


async def test_a_round_that_fails_is_continued(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis does not take the records: every segment is due again, and the next round signs them."""
    walk, rounds = made(plant)

    async def refused(*_: object) -> int:
        raise Transient("no")

    with monkeypatch.context() as patched:
        patched.setattr(type(plant.publisher), "publish_under", refused)
        with pytest.raises(Transient):
            await tick(plant, walk, rounds)
    assert await tick(plant, walk, rounds) == 12


async def test_a_responder_that_is_gone_wakes_its_issuer(plant: Plant) -> None:
    """The keyring says so: every record is signed by the new one, without a whole walk."""
    walk, rounds = made(plant)
    await tick(plant, walk, rounds)
    await plant.connection.execute("delete from ocsp_responder_certs")
    assert await plant.rotate() == ["ca"]
    await plant.read_ring()
    assert await tick(plant, walk, rounds) == 14


async def test_records_limited_by_their_responder_wait_for_the_next_one(plant: Plant) -> None:
    """They are not signed again and again with the same end; a new responder wakes them before they expire."""
    connection, terms = plant.connection, {"now": plant.now(), "grace_s": 1}
    await connection.execute("delete from ocsp_responder_certs")
    assert (await rotate_due(connection, plant.keys, None, validity_s=7200, **terms)).made == ["ca"]
    await plant.read_ring()
    walk, rounds = made(plant)
    await tick(plant, walk, rounds)
    assert walk.segments.next_due() <= plant.now() + 0.48 * 7200
    assert (await walk.run(connection, lambda _: None)).signed == 0
    assert walk.segments.next_due() > plant.now() + 7200
    assert await plant.rotate() == ["ca"]
    await connection.execute("update ocsp_responder_certs set created_at = created_at - interval '1 minute'")
    await plant.read_ring()
    walk.follow()
    assert walk.segments.next_due() <= plant.now()
    await tick(plant, walk, rounds)
    assert walk.segments.next_due() <= plant.now() + 0.48 * 7200


async def test_two_warmers_do_not_sign_everything_twice(plant: Plant) -> None:
    """Both begin at once, at different places, and meet what the other one has done."""
    await plant.connection.execute(
        """insert into certificates (issuer_id, serial_number, not_before, not_after)
           select 'ca', substr(sha256(int8send(n)), 1, 15), now(), now() + interval '90 days'
             from generate_series(1, 2000) n where get_byte(sha256(int8send(n)), 0) between 1 and 127"""
    )
    total = 2 * await plant.connection.fetchval("select count(*) from certificates")
    walks = [made(plant, batch=40)[0] for _ in range(2)]
    connections = [await connect(plant.urls.cli) for _ in walks]
    try:
        for connection in connections:
            await warmers.take_place(connection)
        for walk, connection in zip(walks, connections, strict=True):
            walk.share = await warmers.place(connection)
        assert sorted(walk.share for walk in walks) == [(0, 2), (1, 2)]
        counts = await asyncio.gather(
            *(walk.run(connection, lambda _: None) for walk, connection in zip(walks, connections, strict=True))
        )
        assert total <= sum(count.signed for count in counts) < 1.25 * total
        assert min(count.signed for count in counts) > 0.25 * total
        assert {count.covered for count in counts} == {total // 2}
        await connections[0].close()
        assert await warmers.place(connections[1]) == (0, 1)
    finally:
        for connection in connections:
            await connection.close()


async def test_login_of_an_edge_is_no_warmer_whatever_it_locks(plant: Plant) -> None:
    """It takes the locks of warmers that do not exist, and the warmer's own before it: nothing waits or is shared."""
    stranger, warmer = await connect(plant.urls.edge), await connect(plant.urls.warmer)
    try:
        ours, theirs = warmer.get_server_pid(), stranger.get_server_pid()
        for number in (ours, theirs, 1, 2, 3):
            await stranger.execute("select pg_advisory_lock($1, $2)", warmers._CLASS, number)
        await asyncio.wait_for(warmers.take_place(warmer), 10)
        assert await warmers.place(warmer) == (0, 1)
    finally:
        await stranger.close()
        await warmer.close()
