"""The agent against a real Postgres."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.feed import leases, trim_feed
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.issuers import add_issuer
from cachewarm.ledger.revocations import revoke, unhold
from responder.clock import read_clock
from responder.feed.agent import FeedAgent
from responder.feed.journal import Journal
from responder.feed.local import LocalFeed
from responder.feed.machine import State
from responder.feed.poll import open_feed, snapshot
from responder.feed.replica import count_rows
from tests.cachewarm.ledger.conftest import NOW, YEAR, serial
from tests.support.edges import register

HORIZON_S = 10


class Host:
    """One agent with a journal, its set in plain memory."""

    def __init__(self, url: str, folder: Path, interval_s: float) -> None:
        self.shown = LocalFeed(read_clock)
        who = FeedAgent.edge_name("edge", HORIZON_S, folder)
        self.connections: list[Connection] = []
        self.agent = FeedAgent(lambda: self._connect(url), who, self.shown, read_clock, interval_s, Journal(folder))
        self.agent.boot()
        self.task = asyncio.create_task(self.agent.run())

    async def _connect(self, url: str) -> Connection:
        self.connections.append(await open_feed(url))
        return self.connections[-1]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def has(self, number: int) -> bool:
        return self.shown.revoked(1, serial(number)) is not None


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """With issuer `ca` and certificates 0 to 8."""
    await register(database, "edge")
    connection = await connect(database.owner)
    await add_issuer(connection, "ca", subject="CN=CA", cert_der=b"the certificate of ca", actor="tests")
    made = [
        NewCertificate(serial_number=serial(number), not_before=NOW - YEAR, not_after=NOW + YEAR) for number in range(9)
    ]
    await add_certificates(connection, "ca", made)
    yield connection
    await connection.close()


@pytest.fixture
async def start(database: DatabaseURLs, tmp_path: Path) -> AsyncIterator[Callable[..., Host]]:
    """Starts an agent over the same journal as the one before."""
    hosts: list[Host] = []

    def begin(interval_s: float = 0.02) -> Host:
        hosts.append(Host(database.edge, tmp_path, interval_s))
        return hosts[-1]

    yield begin
    for host in hosts:
        await host.stop()


async def until(true: Callable[[], bool], seconds: float = 5) -> float:
    """Wait for it; how long that took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, "it does not happen"
        await asyncio.sleep(0.001)
    return time.monotonic() - begun


def live(host: Host) -> Callable[[], bool]:
    """It may say good."""
    return lambda: host.shown.as_of is not None and host.shown.state is State.LIVE


async def mark(connection: Connection, number: int, reason: int = 1) -> None:
    """Plain SQL: no nudge."""
    await connection.execute(
        "insert into certificate_revocations (issuer_id, serial_number, reason) values ('ca', $1, $2)",
        serial(number),
        reason,
    )


async def test_it_catches_up_and_follows(owner: Connection, start: Callable[..., Host]) -> None:
    """What was there before comes by snapshot, what follows by polls; a release too; acknowledged at once."""
    await mark(owner, 1)
    host = start()
    await until(live(host))
    assert host.has(1)
    await mark(owner, 2, 6)
    await until(lambda: host.has(2))
    await unhold(owner, "ca", serial(2), actor="tests")
    await until(lambda: not host.has(2))
    await until_acked(owner, 3)


async def until_acked(owner: Connection, seq: int) -> None:
    """The lease row says so."""
    for _ in range(500):
        if [lease.acked for lease in await leases(owner)] == [seq]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not acknowledged")


async def test_a_restart_knows_its_set_before_the_first_word(owner: Connection, start: Callable[..., Host]) -> None:
    """From the journal, without a lease."""
    await mark(owner, 1)
    host = start()
    await until(live(host))
    await mark(owner, 2)
    await until(lambda: host.has(2))
    await host.stop()
    again = start()
    assert again.has(1)
    assert again.has(2)
    assert again.shown.as_of is None
    await until(live(again))


async def test_trimmed_means_a_snapshot_without_orphans(owner: Connection, start: Callable[..., Host]) -> None:
    """A hold released while the edge was away is released."""
    await mark(owner, 1, 6)
    host = start()
    await until(live(host))
    await host.stop()
    await unhold(owner, "ca", serial(1), actor="tests")
    await mark(owner, 2)
    await owner.execute("update edge_lease set at = now() - interval '2 hours'")
    assert await trim_feed(owner, keep=0) == 3
    again = start()
    await until(live(again))
    assert (again.has(1), again.has(2), again.shown.orphans) == (False, True, 0)


async def lose(owner: Connection, number: int) -> None:
    """As a failover loses its tail: the row, its event and its place in the feed are gone."""
    await owner.execute("set session_replication_role = replica")
    for name in ("certificate_revocations",):
        await owner.execute(f"alter table {name} disable trigger user")
    await owner.execute("delete from certificate_revocations where serial_number = $1", serial(number))
    await owner.execute("alter table certificate_revocations enable trigger user")
    await owner.execute("set session_replication_role = origin")
    await owner.execute(
        "with gone as (delete from revocation_events where seq = (select seq from feed_head) returning 1)"
        " update feed_head set seq = seq - 1, chain = coalesce((select chain from revocation_events"
        " where seq = feed_head.seq - 1), base_chain), tli = '00000000'"
    )
    await owner.execute("select feed_current_head()")


async def test_what_the_ledger_lost_stays_revoked(owner: Connection, start: Callable[..., Host]) -> None:
    """Diverged: the entry becomes an orphan, over a trim and a restart, until the ledger names it again."""
    await mark(owner, 1)
    await mark(owner, 2)
    host = start()
    await until(live(host))
    await host.stop()
    await lose(owner, 2)
    await mark(owner, 3)
    again = start()
    await until(live(again))
    assert (again.has(2), again.has(3), again.shown.orphans) == (True, True, 1)
    await again.stop()
    await mark(owner, 4)
    await owner.execute("update edge_lease set at = now() - interval '2 hours'")
    assert await trim_feed(owner, keep=0) > 0
    third = start()
    await until(live(third))
    assert (third.has(2), third.has(4), third.shown.orphans) == (True, True, 1)
    await mark(owner, 2)
    await until(lambda: third.shown.orphans == 0)
    assert third.has(2)


async def test_a_new_generation_is_acknowledged_at_once(owner: Connection, start: Callable[..., Host]) -> None:
    """And kept: the next life does not go back."""
    host = start(5)
    await until(live(host))
    await owner.execute("update feed_head set tli = '00000000'")
    await owner.execute("select feed_current_head()")
    await owner.execute("notify fastocsp_feed")
    await until(lambda: host.agent.machine.position is not None and host.agent.machine.position.generation == 2)
    for _ in range(100):
        if any(lease.edge == "edge" and lease.acked_gen == 2 for lease in await leases(owner)):
            break
        await asyncio.sleep(0.01)
    await host.stop()
    position = start().agent.machine.position
    assert position is not None
    assert position.generation == 2


async def test_a_killed_backend_is_asked_again(owner: Connection, start: Callable[..., Host]) -> None:
    """Well within two seconds."""
    host = start()
    await until(live(host))
    await owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'fastocsp feed'"
    )
    await mark(owner, 1)
    assert await until(lambda: host.has(1)) < 2
    assert len(host.connections) == 2


async def test_a_poll_that_hangs_throws_its_connection_away(owner: Connection, start: Callable[..., Host]) -> None:
    """Somebody who may write it locks the edge's row for 3 s: polls end after 1 s, on new connections."""
    host = start()
    await until(live(host))
    async with owner.transaction():
        await owner.execute("select from edge_lease where edge = 'edge' for update")
        await until(lambda: len(host.connections) > 2)
        assert host.connections[0].is_closed()
        as_of = host.shown.as_of
    await until(lambda: (host.shown.as_of or 0) > (as_of or 0) + 1)


async def test_a_statement_timeout_costs_one_poll(
    database: DatabaseURLs, owner: Connection, start: Callable[..., Host]
) -> None:
    """Told by the ledger, it asks again."""
    await owner.execute("alter role all set statement_timeout = '300ms'")
    host = start()
    try:
        await until(live(host))
        async with owner.transaction():
            await owner.execute("select from edge_lease where edge = 'edge' for update")
            await until(lambda: len(host.connections) > 2)
        await mark(owner, 1)
        await until(lambda: host.has(1))
    finally:
        await owner.execute("alter role all reset statement_timeout")


async def test_a_nudge_is_heard_long_before_the_next_poll(owner: Connection, start: Callable[..., Host]) -> None:
    """Polls every 5 s; the revocation is there in a fraction of that."""
    host = start(5)
    await until(live(host))
    for number in range(1, 4):
        await revoke(owner, "ca", serial(number), actor="tests")
        assert await until(lambda number=number: host.has(number)) < 1  # type: ignore[misc]


async def test_a_clock_that_differs_closes_the_edge(owner: Connection, database: DatabaseURLs, tmp_path: Path) -> None:
    """The wall of this host is two minutes ahead of the ledger's: rows are taken, nobody is called good."""

    def ahead() -> object:
        now = read_clock()
        return now._replace(wall=now.wall + 120 * 10**9)

    await register(database, "e")
    shown = LocalFeed(read_clock)
    connect_it: Callable[[], Awaitable[Connection]] = lambda: open_feed(database.edge)  # noqa: E731
    agent = FeedAgent(connect_it, FeedAgent.edge_name("e", HORIZON_S, tmp_path), shown, ahead, 0.02)  # type: ignore[arg-type]
    agent.boot()
    task = asyncio.create_task(agent.run())
    await mark(owner, 1)
    await until(lambda: shown.revoked(1, serial(1)) is not None)
    await asyncio.sleep(0.2)
    assert shown.as_of is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_snapshot_is_what_the_feed_tells(owner: Connection, database: DatabaseURLs) -> None:
    """Every row, sorted, and the position they stand for."""
    for number in (7, 3, 5):
        await mark(owner, number)
    connection = await open_feed(database.signer)
    position, groups = await snapshot(connection)
    assert (position.seq, count_rows(groups)) == (3, 3)
    rows = groups[1, 8]
    assert [rows[at : at + 8] for at in range(0, 39, 13)] == [serial(3), serial(5), serial(7)]
    assert isinstance(connection, asyncpg.Connection)
    await connection.close()
