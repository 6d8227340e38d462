"""A ledger that dies in two steps: its farewell arrives, the end of the connection is still on its way.

asyncpg then has an error on its hands that no question asked for, and calls the next question a mistake of its own
(InternalClientError). That is a lost link like any other: a master or a signer that ended of it took a host with it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Transient
from cachewarm.ledger.connect import OutcomeUnknown, changing, connect, translated
from responder.clock import read_clock
from responder.config import EdgeSettings
from responder.domain.catalog import Catalog
from responder.feed.agent import FeedAgent
from responder.feed.local import LocalFeed
from responder.feed.poll import open_feed
from responder.master import Master
from tests.support.edges import register
from tests.support.proxy import Proxy, Wire

#: Of a FATAL: the backend was told to go.
_FAREWELL = b"57P01"
ASKED_AGAIN = "another operation"


class LastWords(Proxy):
    """Passes the server's farewell on and keeps the end of the connection to itself."""

    def _from_server(self, wire: Wire, octets: bytes) -> bool:
        if _FAREWELL in octets:
            self.down.hole = True
        return super()._from_server(wire, octets)

    def url(self, plain: str) -> str:
        """That URL, through here."""
        return re.sub(r"@[^/]*/", f"@127.0.0.1:{self.port}/", plain.partition("?")[0]) + "?sslmode=disable"


@pytest.fixture
async def link(database: DatabaseURLs) -> AsyncIterator[LastWords]:
    """In front of the server of the tests."""
    folder = parse_qs(urlsplit(database.signer).query)["host"][0]
    proxy = LastWords(Path(folder) / ".s.PGSQL.5432")
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def dismiss(database: DatabaseURLs, link: LastWords) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Ends every backend behind the link and waits until its farewell has passed."""
    admin = await asyncpg.connect(database.owner)

    async def end() -> None:
        for wire in tuple(link.wires):
            await admin.execute("select pg_terminate_backend($1)", wire.backend)
        async with asyncio.timeout(5):
            await link_holds(link)

    yield end
    await admin.close()


async def link_holds(link: LastWords) -> None:
    """The end of a connection waits in the proxy."""
    while not link.down.hole:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)


async def test_asyncpg_still_answers_so(
    database: DatabaseURLs, link: LastWords, dismiss: Callable[[], Awaitable[None]]
) -> None:
    """What the tests below rest on. For the write side it is Transient, and within a change an unknown outcome."""
    for meaning, kind in ((translated, Transient), (changing, OutcomeUnknown)):
        connection = await connect(link.url(database.cli))
        await dismiss()
        with pytest.raises(kind, match=ASKED_AGAIN), meaning():
            await connection.fetchval("select 1")
        link.heal()
        connection.terminate()


async def test_an_agent_asks_on_another_connection(
    database: DatabaseURLs, link: LastWords, dismiss: Callable[[], Awaitable[None]], tmp_path: Path
) -> None:
    """It polls on once the ledger is back."""
    feed = LocalFeed(read_clock)
    await register(database, "edge")
    who = FeedAgent.edge_name("edge", 10, tmp_path)
    agent = FeedAgent(lambda: open_feed(link.url(database.edge)), who, feed, read_clock, 0.02)
    with capture_logs() as said:
        task = asyncio.create_task(agent.run())
        await becomes(lambda: feed.as_of is not None, task)
        await dismiss()
        await becomes(lambda: any(ASKED_AGAIN in str(line.get("error")) for line in said), task)
        link.heal()
        feed.renew(None)
        await becomes(lambda: feed.as_of is not None, task)
        task.cancel()


async def test_a_master_reads_its_catalog_on(
    database: DatabaseURLs,
    link: LastWords,
    dismiss: Callable[[], Awaitable[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task that follows the catalog ends of nothing that a ledger does."""
    # the last words come while no query is under way: the samples of the coverage are seldom
    monkeypatch.setattr("responder.edge.coverage_watch.PAUSE_S", 60.0)
    settings = EdgeSettings(data_dir=tmp_path, run_dir=tmp_path / "run", database_url=link.url(database.signer))
    master = Master(settings)
    with capture_logs() as said:
        task = asyncio.create_task(master._follow_catalog())
        await becomes(lambda: master.catalog is not None and master.coverage.report.at > 0, task)
        await dismiss()
        await becomes(lambda: any(ASKED_AGAIN in str(line.get("error")) for line in said), task)
        link.heal()
        master.catalog = None
        await becomes(lambda: master.catalog == Catalog(), task)
        task.cancel()


async def becomes(true: Callable[[], bool], task: "asyncio.Task[None]") -> None:
    """Within ten seconds, and the task is still at it."""
    async with asyncio.timeout(10):
        while not true():
            assert not task.done(), task.exception()
            await asyncio.sleep(0.005)
