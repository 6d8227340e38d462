"""`revoke --wait` against a real Postgres, with real agents as edges."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger import feed
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.issuers import add_issuer
from cachewarm.ledger.revocations import RevokeResult, revoke
from cachewarm.revocation.confirmation import Confirmation, Outcome, bound_only, wait_for_edges
from responder.clock import read_clock
from responder.feed.agent import FeedAgent
from responder.feed.local import LocalFeed
from responder.feed.poll import open_feed
from tests.cachewarm.ledger.conftest import NOW, YEAR, serial
from tests.cachewarm.ledger.reading import GENESIS
from tests.support.edges import register

POLL = "select * from feed_poll($1, $2, $3, $4, $5, $6)"


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """Issuer `ca`, 60 certificates, a horizon of two seconds."""
    connection = await connect(database.owner)
    await add_issuer(connection, "ca", subject="CN=CA", cert_der=b"the certificate of ca", actor="tests")
    made = [
        NewCertificate(serial_number=serial(number), not_before=NOW - YEAR, not_after=NOW + YEAR)
        for number in range(60)
    ]
    await add_certificates(connection, "ca", made)
    await feed.set_horizon(connection, 2)
    yield connection
    await connection.close()


@pytest.fixture
async def edge(database: DatabaseURLs, owner: Connection, tmp_path: Path) -> AsyncIterator[asyncio.Task[None]]:
    """A live edge; cancel it and it is unreachable."""
    await register(database, "edge")
    shown = LocalFeed(read_clock)
    who = FeedAgent.edge_name("edge", 2, tmp_path)
    agent = FeedAgent(lambda: open_feed(database.edge), who, shown, read_clock, 0.1)
    agent.boot()
    task = asyncio.create_task(agent.run())
    for _ in range(500):
        if shown.as_of is not None and await feed.leases(owner):
            break
        await asyncio.sleep(0.01)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def stop(task: "asyncio.Task[None]") -> None:
    """The edge hears nothing any more."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def waited(
    connection: Connection, result: RevokeResult, *, patience_s: float | None = None, still: bool = True
) -> Confirmation:
    """From now on."""

    async def still_so() -> bool:
        return still

    return await wait_for_edges(
        connection,
        result.generation,
        result.seq,
        committed=time.monotonic(),
        patience_s=patience_s,
        still_so=still_so,
    )


async def test_an_acknowledgement_confirms(owner: Connection, edge: "asyncio.Task[None]") -> None:
    """Long before the horizon."""
    done = await waited(owner, await revoke(owner, "ca", serial(1), actor="tests"))
    assert done.outcome is Outcome.CONFIRMED
    assert done.waited_s < 1


async def test_without_edges_it_is_confirmed_at_once(owner: Connection) -> None:
    """Nobody has a lease."""
    done = await waited(owner, await revoke(owner, "ca", serial(1), actor="tests"))
    assert done.outcome is Outcome.CONFIRMED


async def test_expiry_confirms_without_knowing_the_edge(owner: Connection, edge: "asyncio.Task[None]") -> None:
    """An unreachable edge: a horizon and its margin after the commit, not sooner."""
    await stop(edge)
    done = await waited(owner, await revoke(owner, "ca", serial(1), actor="tests"))
    assert done.outcome is Outcome.CONFIRMED
    assert 2.07 <= done.waited_s < 2.6


async def test_patience_ends_in_a_bound(owner: Connection, edge: "asyncio.Task[None]") -> None:
    """Which edges, and until when."""
    await stop(edge)
    result = await revoke(owner, "ca", serial(1), actor="tests")
    done = await waited(owner, result, patience_s=0.3)
    assert (done.outcome, done.edges) == (Outcome.BOUNDED, ("edge",))
    assert done.until is not None
    assert 0.3 <= done.waited_s < 1
    now = await bound_only(owner, result.generation, result.seq, committed=time.monotonic())
    assert now.outcome is Outcome.BOUNDED


async def test_a_poll_that_hangs_costs_nobody_else_anything(
    database: DatabaseURLs, owner: Connection, edge: "asyncio.Task[None]"
) -> None:
    """An edge's login keeps its poll uncommitted for longer than two horizons. The waiter confirms after one, as that
    edge may say good for as long; the other edge's lease is renewed all the time.
    """
    await register(database, "hung")
    hung = await connect(database.edge)
    boot = uuid4()
    for _ in range(2):
        await hung.fetch(POLL, "hung", boot, timedelta(seconds=2), 1, 0, GENESIS)
    poll = hung.transaction()
    await poll.start()
    await hung.fetch(POLL, "hung", boot, timedelta(seconds=2), 1, 0, GENESIS)
    waiting = asyncio.create_task(waited(owner, await revoke(owner, "ca", serial(1), actor="tests")))
    watching = await connect(database.owner)
    renewed = []
    for _ in range(9):
        await asyncio.sleep(0.5)
        renewed.append({lease.edge: lease.renewals for lease in await feed.leases(watching)}["edge"])
    assert renewed == sorted(set(renewed)), "half a second without a renewal"
    done = await waiting
    assert done.outcome is Outcome.CONFIRMED
    assert 2.07 <= done.waited_s < 3
    await poll.rollback()
    for connection in (hung, watching):
        await connection.close()


@pytest.mark.parametrize("still", [True, False])
async def test_a_new_generation_is_looked_into(
    database: DatabaseURLs, owner: Connection, edge: "asyncio.Task[None]", still: bool
) -> None:
    """Still revoked: start over in the new generation; not any more: UNKNOWN."""
    await stop(edge)
    result = await revoke(owner, "ca", serial(1), actor="tests")
    waiting = asyncio.create_task(waited(owner, result, still=still))
    await asyncio.sleep(0.2)
    other = await connect(database.owner)
    await other.execute("update feed_head set tli = '00000000'")
    await other.close()
    done = await waiting
    assert done.outcome is (Outcome.CONFIRMED if still else Outcome.UNKNOWN)


async def test_commit_to_acknowledgement(
    owner: Connection, edge: "asyncio.Task[None]", request: pytest.FixtureRequest
) -> None:
    """Reported, not judged."""
    times = [(await waited(owner, await revoke(owner, "ca", serial(n), actor="tests"))).waited_s for n in range(50)]
    centiles = statistics.quantiles(times, n=100)
    request.node.user_properties.append(
        ("commit to ack, ms: p50, p99", [round(centiles[at] * 1e3, 1) for at in (49, 98)])
    )
    assert len(times) == 50
