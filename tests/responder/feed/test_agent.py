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
from responder.feed.reports import is_blocking
from responder.tasks import end_tasks
from tests.cachewarm.ledger.conftest import NOW, YEAR, serial
from tests.support.edges import register

HORIZON_S = 10


class Host:
    """One agent with a journal, its set in plain memory."""

    def __init__(self, url: str, folder: Path, interval_s: float, name: str) -> None:
        self.shown = LocalFeed(read_clock)
        who = FeedAgent.edge_name(name, HORIZON_S, folder)
        self.connections: list[Connection] = []
        self.agent = FeedAgent(lambda: self._connect(url), who, self.shown, read_clock, interval_s, Journal(folder))
        self.agent.boot()
        self.task = asyncio.create_task(self.agent.run())

    async def _connect(self, url: str) -> Connection:
        self.connections.append(await open_feed(url))
        return self.connections[-1]

    async def stop(self) -> None:
        await end_tasks([self.task])

    def has(self, number: int) -> bool:
        return self.shown.revoked(1, serial(number)) is not None

    def blocks(self, number: int) -> bool:
        """It answers neither good nor revoked."""
        listed = self.shown.revoked(1, serial(number))
        return listed is not None and is_blocking(listed[1])


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """With issuer `ca` and certificates 0 to 8."""
    await register(database, "edge", "knowing", "other", "third")
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
    """Starts an agent over the same journal as the one before, beside a writer that begins generations and fences."""
    hosts: list[Host] = []
    writer = asyncio.create_task(follow(database.owner))

    def begin(interval_s: float = 0.02, name: str = "edge") -> Host:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        hosts.append(Host(database.edge, folder, interval_s, name))
        return hosts[-1]

    yield begin
    for host in hosts:
        await host.stop()
    await end_tasks([writer])


async def follow(url: str) -> None:
    """As a warmer that polls."""
    connection = await connect(url)
    try:
        while True:
            await connection.execute("select feed_current_head()")
            await asyncio.sleep(0.02)
    finally:
        connection.terminate()


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
        "insert into certificate_revocations (issuer_id, serial_number, reason, revoked_at)"
        " values ('ca', $1, $2, now() - interval '1 minute')",
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
        if [lease.acked for lease in await leases(owner) if lease.edge == "edge"] == [seq]:
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


async def rolled_back(owner: Connection, start: Callable[..., Host]) -> tuple[Host, Host]:
    """An edge that knows a revocation which the ledger lost, and one that never heard of it."""
    await mark(owner, 1)
    await mark(owner, 2)
    knowing = start(name="knowing")
    await until(live(knowing))
    await knowing.stop()
    await lose(owner, 2)
    await mark(owner, 3)
    knowing, other = start(name="knowing"), start(name="other")
    await until(live(knowing))
    await until(live(other))
    assert (knowing.has(2), knowing.blocks(2), other.has(2)) == (True, False, False)
    await until_settled(owner)
    await until(lambda: other.blocks(2))
    return knowing, other


async def until_settled(owner: Connection) -> None:
    """As the warmer does once a report is there."""
    for _ in range(500):
        if await owner.fetchval("select orphans_settle()"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was reported")


async def test_an_orphan_blocks_every_edge_until_it_is_confirmed(owner: Connection, start: Callable[..., Host]) -> None:
    """Revoked where it is known, blocked elsewhere by feed, journal and snapshot; then revoked everywhere."""
    knowing, other = await rolled_back(owner, start)
    assert not knowing.blocks(2)
    assert (knowing.shown.orphans, other.shown.orphans) == (1, 0)
    await other.stop()
    from_journal, from_snapshot = start(name="other"), start(name="third")
    assert from_journal.blocks(2), "a restart forgot it"
    await until(live(from_snapshot))
    assert from_snapshot.blocks(2)
    assert await owner.fetchval("select orphan_confirm('tests', 'ca', $1, null, null, null, 'tests')", serial(2))
    for host in (knowing, from_journal, from_snapshot):
        await until(lambda host=host: host.has(2) and not host.blocks(2))  # type: ignore[misc]
    await until(lambda: knowing.shown.orphans == 0)


async def test_a_dismissed_orphan_is_forgotten_everywhere(owner: Connection, start: Callable[..., Host]) -> None:
    """By those that follow the feed, and by one that was away and takes a snapshot; over its restart too."""
    knowing, other = await rolled_back(owner, start)
    await knowing.stop()
    assert await owner.fetchval("select orphan_dismiss('tests', 'ca', $1, 'never was')", serial(2))
    await until(lambda: not other.has(2))
    await owner.execute("update edge_lease set at = now() - interval '2 hours'")
    assert await trim_feed(owner, keep=0) > 0
    again = start(name="knowing")
    await until(lambda: not again.has(2))
    assert again.shown.orphans == 0
    await again.stop()
    last = start(name="knowing")
    assert not last.has(2)
    assert last.has(1)


async def test_an_edge_that_lost_a_report_too_goes_on_blocking(owner: Connection, start: Callable[..., Host]) -> None:
    """A second rollback takes the report and its item: the edge that only heard of it blocks on, and reports it."""
    knowing, other = await rolled_back(owner, start)
    await knowing.stop()
    await other.stop()
    await owner.execute("delete from orphans")
    await owner.execute("delete from orphan_reports")
    await lose(owner, 99)
    await mark(owner, 4)
    again = start(name="other")
    await until(live(again))
    assert again.blocks(2)
    await until_settled(owner)
    row = await owner.fetchrow("select state, reason from orphans where serial_number = $1", serial(2))
    assert row is not None
    assert tuple(row) == ("open", 1)


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
    await end_tasks([task])


async def test_a_snapshot_is_what_the_feed_tells(owner: Connection, database: DatabaseURLs) -> None:
    """Every row, sorted, and the position they stand for."""
    for number in (7, 3, 5):
        await mark(owner, number)
    connection = await open_feed(database.signer)
    position, groups, _ = await snapshot(connection)
    assert (position.seq, count_rows(groups)) == (3, 3)
    rows = groups[1, 8]
    assert [rows[at : at + 8] for at in range(0, 39, 13)] == [serial(3), serial(5), serial(7)]
    assert isinstance(connection, asyncpg.Connection)
    await connection.close()
