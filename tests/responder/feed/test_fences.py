"""Fences as agents follow them, against a real Postgres: set, kept over a restart, lifted by witnesses."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger import fences
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.feed import begin_generation, trim_feed
from responder.clock import read_clock
from responder.feed.agent import FeedAgent
from responder.feed.local import LocalFeed
from responder.feed.poll import Who, open_feed
from responder.tasks import end_tasks
from tests.responder.feed.test_agent import HORIZON_S, Host, live, lose, mark, owner, start, until

__all__ = ["owner", "start"]


def fenced(host: Host) -> Callable[[], bool]:
    """Its set has the fence, and a lease that was given on it."""
    return lambda: host.shown.fenced(1) and live(host)()


def free(host: Host) -> Callable[[], bool]:
    """It may say good of the issuer."""
    return lambda: not host.shown.fenced(1) and live(host)()


async def test_a_fence_lasts_over_restarts_until_it_is_lifted(owner: Connection, start: Callable[..., Host]) -> None:
    """By the feed, from the journal before the first word of the ledger, and by a snapshot. It is no orphan when it is
    lifted while the edge was away.
    """
    await mark(owner, 1)
    host, away = start(), start(name="other")
    for each in (host, away):
        await until(free(each))
    await begin_generation(owner)
    for each in (host, away):
        await until(fenced(each))
    await away.stop()
    await host.stop()
    again, fresh = start(), start(name="third")
    assert again.shown.fenced(1), "a restart forgot it"
    await until(fenced(fresh))
    assert again.has(1)
    await fences.cover(owner, "ca", fences.ALWAYS, {"statement": "so it is"}, actor="tests")
    assert await fences.lift(owner, "ca", actor="tests")
    for each in (again, fresh):
        await until(free(each))
    await owner.execute("update edge_lease set at = now() - interval '2 hours' where edge = 'other'")
    assert await trim_feed(owner, keep=0) > 0
    back = start(name="other")
    assert back.shown.fenced(1)
    await until(free(back))
    assert back.shown.orphans == 0


async def test_every_edge_is_fenced_when_one_knows_more_than_the_ledger(
    owner: Connection, start: Callable[..., Host]
) -> None:
    """The tail was lost on the same server and timeline, and one edge alone tells."""
    await mark(owner, 1)
    await mark(owner, 2)
    knowing = start(name="knowing")
    await until(live(knowing))
    await knowing.stop()
    await lose(owner, 2)
    await owner.execute("delete from issuer_fences")
    other = start(name="other")
    await until(free(other))
    knowing = start(name="knowing")
    for host in (knowing, other):
        await until(fenced(host))
    assert knowing.has(2)
    assert [fence.reason for fence in await fences.open_fences(owner)] == ["diverged"]


async def test_edges_that_lived_through_a_promotion_lift_its_fence(
    owner: Connection, start: Callable[..., Host], database: DatabaseURLs
) -> None:
    """The warmer was started again with it and knows nothing of before: its first look sets the fence, and the edge
    finds its place.
    """
    await mark(owner, 1)
    host = start(name="edge")
    await until(free(host))
    await owner.execute("update feed_head set tli = '00000000'")
    await until(lambda: host.agent.machine.position is not None and host.agent.machine.position.generation == 2)
    shown = LocalFeed(read_clock)
    who = Who(None, uuid4(), HORIZON_S)
    warmer = FeedAgent(lambda: open_feed(database.owner), who, shown, read_clock, 0.02)
    polling = asyncio.create_task(warmer.run())
    try:
        await until(free(host))
        await until(lambda: shown.as_of is not None and not shown.fenced(1))
    finally:
        await end_tasks([polling])
    rows = await owner.fetch("select reason, lifted_by from issuer_fences")
    assert [row["reason"] for row in rows] == ["promoted"]
