"""What a warmer writes of itself."""

import asyncio

from cachewarm.ledger import coverage, heartbeats
from cachewarm.ledger.connect import connect
from cachewarm.warmer.heartbeat import FAILING_S, HeartbeatLoop
from tests.support.plant import Plant, plant

__all__ = ["plant"]


def test_a_loop_is_failing_until_it_has_not_failed_for_a_while() -> None:
    """Named while it fails, gone FAILING_S after its last failure; queue and rotation failures are of the moment."""
    now = [0.0]
    queue: list[int] = []
    loop = HeartbeatLoop("w", lambda: len(queue), lambda: {"responder": ["a", "b"], "walk": ["c"]}, lambda: now[0])
    loop.failed("walk")
    loop.failed("audit")
    queue += [1, 2, 3]
    beat = loop.beat()
    assert (beat.failing, beat.queue, beat.rotation_failures) == (("audit", "walk"), 3, 2)
    assert (beat.walked_at, beat.missing) == (None, None)
    now[0] = FAILING_S - 1
    loop.failed("walk")
    now[0] = FAILING_S + 1
    loop.walked(7)
    assert (loop.beat().failing, loop.beat().missing) == (("walk",), 7)
    names = {metric.name for metric in loop.collect()}
    assert {"fastocsp_warmer_queue", "fastocsp_warmer_failing", "fastocsp_warmer_missing_records"} <= names


def test_broken_audit_chain_is_failing_until_it_holds_again() -> None:
    """However long ago it was looked at: the next look is hours away."""
    now = [0.0]
    loop = HeartbeatLoop("w", lambda: 0, dict, lambda: now[0])
    loop.audited(7)
    now[0] = 100 * FAILING_S
    assert loop.beat().failing == ("audit chain broken",)
    broken = {metric.name: metric.samples for metric in loop.collect()}["fastocsp_audit_chain_broken"]
    assert broken[0].value == 1
    loop.audited(None)
    assert loop.beat().failing == ()


async def test_a_warmer_writes_its_heartbeat_and_folds_the_counts(plant: Plant) -> None:
    """The warmer's own login may do both; the certificates of the plant are in the totals afterwards."""
    connection = await connect(plant.urls.warmer)
    running = asyncio.create_task(HeartbeatLoop("w", lambda: 0, dict).run(connection))
    try:
        async with asyncio.timeout(10):
            while not await heartbeats.read_heartbeats(plant.connection):
                await asyncio.sleep(0.01)
            while await _unfolded(plant):
                await asyncio.sleep(0.01)
        assert (await coverage.read_unexpired(plant.connection))["ca"] >= len(plant.leaves)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await connection.close()


async def _unfolded(plant: Plant) -> int:
    owner = await connect(plant.urls.owner)
    try:
        return int(await owner.fetchval("select count(*) from certificate_count_changes"))
    finally:
        await owner.close()
