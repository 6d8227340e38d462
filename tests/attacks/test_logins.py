"""One stolen login: what it lets a stranger say in an edge's name, and what it lets them hold for ever.

A stranger who held the advisory locks, or polled by name, made a revocation CONFIRMED while an edge went on saying
`good`, or stopped every revocation. Here the ledger is real, and so is the edge.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger import edges, feed
from cachewarm.ledger.connect import Connection, connected
from cachewarm.ledger.crls import crl_turn
from cachewarm.ledger.holders import HolderWatch
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.issuers import add_issuer
from cachewarm.ledger.migrate import migrate
from cachewarm.revocation.confirmation import Outcome, Waiting
from cachewarm.revocation.revoke import RevocationOutcome, Target, revoke
from cachewarm.warmer.edge_watch import EdgeWatch
from responder.clock import read_clock
from responder.domain.status import CRLReason
from responder.feed.agent import FeedAgent
from responder.feed.local import LocalFeed
from responder.feed.poll import open_feed
from tests.cachewarm.ledger.conftest import NOW, YEAR, serial
from tests.support.breakage import eventually_true
from tests.support.edges import register

HORIZON_S = 2
POLL = "select status from feed_poll($1, $2, $3, $4, $5, $6)"
LOCKS = ("fastocsp.feed", "fastocsp.lease", "fastocsp.crl", "fastocsp.responder", "fastocsp.migrate")
READABLE = ("crl_cache", "crl_parts", "crl_mirrors", "presign_coverage", "feed_position", "feed_snapshot")


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """Issuer `ca`, 20 certificates, a horizon of two seconds."""
    async with connected(database.owner) as connection:
        await add_issuer(connection, "ca", subject="CN=CA", cert_der=b"the certificate of ca", actor="tests")
        made = [
            NewCertificate(serial_number=serial(number), not_before=NOW - YEAR, not_after=NOW + YEAR)
            for number in range(20)
        ]
        await add_certificates(connection, "ca", made)
        await feed.set_horizon(connection, HORIZON_S)
        yield connection


class LiveEdge:
    """A real agent named `victim`; `cut` is the cable."""

    def __init__(self, url: str, folder: Path) -> None:
        self.shown = LocalFeed(read_clock)
        self._url, self.cut = url, False
        who = FeedAgent.edge_name("victim", HORIZON_S, folder)
        self.agent = FeedAgent(self._connect, who, self.shown, read_clock, 0.05)
        self.connections: list[Connection] = []

    async def _connect(self) -> Connection:
        if self.cut:
            raise OSError("the cable is out")
        self.connections.append(await open_feed(self._url))
        return self.connections[-1]

    def pull(self) -> None:
        """Nothing is heard any more."""
        self.cut = True
        self.connections[-1].terminate()

    @property
    def says_good(self) -> bool:
        """For a certificate that it does not know to be revoked."""
        return self.shown.as_of is not None


@pytest.fixture
async def victim(database: DatabaseURLs, owner: Connection, tmp_path: Path) -> AsyncIterator[LiveEdge]:
    """It may say good."""
    await register(database, "victim", "stranger")
    edge = LiveEdge(database.edge, tmp_path)
    edge.agent.boot()
    task = asyncio.create_task(edge.agent.run())
    await eventually_true(lambda: edge.says_good)
    yield edge
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def revoked(
    url: str, number: int, *, patience_s: float | None = None, holders: HolderWatch | None = None
) -> RevocationOutcome:
    """`revoke --wait`."""
    async with connected(url) as connection:
        return await revoke(
            connection,
            Target("ca", serial(number)),
            reason=CRLReason.keyCompromise,
            invalidity_date=None,
            actor="tests",
            waiting=Waiting(True, patience_s, holders=holders),
        )


@pytest.mark.parametrize("login", ["signer", "edge"])
async def test_nobody_confirms_in_the_name_of_an_edge_that_is_cut_off(
    database: DatabaseURLs, victim: LiveEdge, login: str
) -> None:
    """Neither with another process's login nor with its own: it may say good for a horizon; CONFIRMED comes after."""
    victim.pull()
    speaking = asyncio.create_task(_acknowledge_everything(getattr(database, login)))
    try:
        bounded = await revoked(database.cli, 1, patience_s=0.5)
        assert bounded.waited.outcome is Outcome.BOUNDED
        begun = time.monotonic()
        done = await revoked(database.cli, 2)
        assert done.waited.outcome is Outcome.CONFIRMED
        assert time.monotonic() - begun > HORIZON_S
        assert not victim.says_good
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def _acknowledge_everything(url: str) -> None:
    boot, horizon = uuid4(), timedelta(seconds=HORIZON_S)
    connection = await asyncpg.connect(url)
    try:
        while True:
            head = await connection.fetchrow("select generation, seq, chain from feed_position")
            assert head is not None
            await connection.fetch(POLL, "victim", boot, horizon, *head.values())
            await asyncio.sleep(0.01)
    finally:
        connection.terminate()


async def test_an_edge_comes_back_by_itself_after_somebody_spoke_for_it(
    database: DatabaseURLs, victim: LiveEdge, owner: Connection
) -> None:
    """It goes on as a life of its own, without a restart."""
    speaking = asyncio.create_task(_acknowledge_everything(database.edge))
    await eventually_true(lambda: len(victim.connections) > 1)
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)
    done = await revoked(database.cli, 1)
    assert done.waited.outcome is Outcome.CONFIRMED
    await eventually_true(lambda: victim.says_good and victim.shown.revoked(1, serial(1)) is not None)


async def test_what_an_edge_can_hold_delays_nobody(database: DatabaseURLs, victim: LiveEdge, owner: Connection) -> None:
    """Every advisory lock we ever used, every table it may read, its own row, a snapshot: a revocation confirms, at the
    latest when that edge's own lease has run out; other edges are served; CRLs have their turn; a migration runs.
    """
    thief = await asyncpg.connect(database.edge)
    boot, horizon = uuid4(), timedelta(seconds=HORIZON_S)
    for _ in range(2):
        await thief.fetch(POLL, "stranger", boot, horizon, 1, 0, None)
    await thief.execute("set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; set statement_timeout = 0")
    for name in LOCKS:
        await thief.execute("select pg_advisory_lock(hashtext($1))", name)
        await thief.execute("select pg_advisory_lock(hashtext($1), hashtext('ca'))", name)
        await thief.execute("select pg_advisory_lock(hashtext($1), n) from generate_series(0, 9) n", name)
    await thief.execute("begin")
    await thief.fetch(POLL, "stranger", boot, horizon, 1, 0, None)
    await thief.fetch(POLL, "victim-of-a-typo", boot, horizon, 1, 0, None)
    await thief.execute(f"lock table {', '.join(READABLE)} in access share mode")
    renewals = {lease.edge: lease.renewals for lease in await feed.leases(owner)}["victim"]
    begun = time.monotonic()
    done = await revoked(database.cli, 1)
    assert done.waited.outcome is Outcome.CONFIRMED
    assert time.monotonic() - begun < 3 * HORIZON_S
    assert {lease.edge: lease.renewals for lease in await feed.leases(owner)}["victim"] > renewals
    assert victim.says_good
    async with crl_turn(owner, "ca") as ours:
        assert ours
    assert await migrate(owner) == []
    thief.terminate()


async def test_a_transaction_of_an_edge_that_does_not_end_is_ended(database: DatabaseURLs, owner: Connection) -> None:
    """It holds back vacuum; the warmer ends it, and no transaction of a writer. 90 s are 0 s here."""
    reader, writer = await asyncpg.connect(database.signer), await asyncpg.connect(database.warmer)
    for connection in (reader, writer):
        await connection.execute("begin")
        await connection.fetch("select * from crl_cache")
    assert await edges.end_overdue(owner, timedelta(0)) == []
    sound = await owner.fetchval("select pg_get_functiondef('readers_end_overdue'::regproc)")
    hasty = sound.replace("greatest(p_after, '00:01:30'::interval)", "interval '0'").replace(
        "greatest(p_after, interval '90 seconds')", "interval '0'"
    )
    assert hasty != sound
    await reader.fetch("select * from crl_cache")
    await owner.execute(hasty)
    ended = await edges.end_overdue(owner, timedelta(0))
    assert [one.login for one in ended] == ["fastocsp_signer"]
    await eventually_true(reader.is_closed)
    assert not writer.is_closed()
    writer.terminate()


async def test_the_watch_tells_of_refused_polls_and_lapses_leases(
    database: DatabaseURLs, owner: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each login; a lease that stood still for a horizon on this process's clock."""
    await register(database, "stranger")
    edge = await asyncpg.connect(database.edge)
    for _ in range(2):
        await edge.fetch(POLL, "stranger", uuid4(), timedelta(seconds=HORIZON_S), 1, 0, None)
    await edge.fetch(POLL, "nobody", uuid4(), timedelta(seconds=HORIZON_S), 1, 0, None)
    watch = EdgeWatch(lambda: now)
    now = 0.0
    for _ in range(2):
        await watch.look(owner)
    assert capsys.readouterr().out.count("poll refused") == 1
    [refused] = watch.metrics()
    assert [(one.name, one.labels, one.value) for one in refused.samples] == [
        ("fastocsp_polls_refused_total", {"login": "fastocsp_edge"}, 1)
    ]
    await owner.execute("update edge_lease set at = now() - interval '10 s'")
    await watch.look(owner)
    assert [lease.leased for lease in await feed.leases(owner) if lease.edge == "stranger"] == [True]
    now = 5.0
    await watch.look(owner)
    assert [lease.leased for lease in await feed.leases(owner) if lease.edge == "stranger"] == [False]
    await edge.close()


@pytest.fixture
async def forgotten(database: DatabaseURLs, owner: Connection) -> AsyncIterator[Connection]:
    """A transaction of a writer that revoked something and was left open."""
    connection = await asyncpg.connect(database.admin)
    await connection.execute("begin")
    await connection.execute(
        "insert into certificate_revocations (issuer_id, serial_number, reason) values ('ca', $1, 1)", serial(15)
    )
    yield connection
    connection.terminate()


def command(database: DatabaseURLs, folder: Path, *words: str) -> "subprocess.Popen[str]":
    """The command line as a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTOCSP_")}
    environ = kept | {"FASTOCSP_DATABASE_URL": database.cli, "FASTOCSP_DATA_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "cachewarm.cli.main", *words], env=environ, stdout=-1, stderr=-1, text=True
    )


async def test_who_holds_the_ledger_is_named(database: DatabaseURLs, forgotten: Connection, tmp_path: Path) -> None:
    """Login, place, since when and with what; nothing is revoked when patience ends."""
    running = command(database, tmp_path, "revoke", "--serial", serial(1).hex(), "--patience", "3")
    out, err = await asyncio.to_thread(running.communicate, timeout=60)
    assert (running.returncode, out) == (1, "")
    assert "the ledger is held by fastocsp_admin at local since" in err
    assert "insert into certificate_revocations" in err


async def test_with_force_the_holder_is_ended_and_the_audit_chain_names_it(
    database: DatabaseURLs, forgotten: Connection, owner: Connection, tmp_path: Path
) -> None:
    """The revocation is done, and the forgotten one is not."""
    words = ("revoke", "--serial", serial(1).hex(), "--wait", "--force", "--json")
    running = command(database, tmp_path, *words)
    out, err = await asyncio.to_thread(running.communicate, timeout=60)
    assert (running.returncode, json.loads(out)["result"]) == (0, "CONFIRMED"), err
    row = await owner.fetchrow("select actor, detail from audit_events where action = 'end-holder'")
    assert row is not None
    detail = json.loads(row["detail"])
    assert (detail["login"], detail["ended_login"]) == ("fastocsp_cli", "fastocsp_admin")
    assert await owner.fetchval("select array_agg(serial_number) from certificate_revocations") == [serial(1)]


async def test_an_edge_that_holds_its_own_row_is_removed_all_the_same(
    database: DatabaseURLs, owner: Connection, tmp_path: Path
) -> None:
    """Its poll is never committed; the command ends that session, and the edge has no word any more."""
    await register(database, "captured")
    thief = await asyncpg.connect(database.edge)
    await thief.execute("set idle_in_transaction_session_timeout = 0")
    await thief.execute("begin")
    await thief.fetch(POLL, "captured", uuid4(), timedelta(seconds=HORIZON_S), 1, 0, None)
    running = command(database, tmp_path, "edge", "remove", "captured")
    _, err = await asyncio.to_thread(running.communicate, timeout=60)
    assert running.returncode == 0, err
    assert "the ledger is held by fastocsp_edge at local" in err
    assert "captured is removed" in err
    assert "captured" not in {lease.edge for lease in await feed.leases(owner)}
    await eventually_true(thief.is_closed)
