"""Rows of `make bench-scale` about the writer: pages of the walk, what a visit costs, and a whole instance.

Inventories are synthetic: rows straight by SQL, with the ledger's triggers off where they would only cost time. Every
function seeds what it needs in a fresh database, measures, and returns rows of (name, goal, value, verdict).
"""

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil

from bench import scale_instance
from bench.presign import DAY, founded
from bench.scale_rows import Row
from bench.scale_seed import seed
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs, provision
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.inventory import inventory_page
from cachewarm.ledger.issuers import add_issuer
from cachewarm.records.publisher import Publisher
from cachewarm.records.publisher import connect as connect_redis
from cachewarm.records.signing_pool import SigningPool
from cachewarm.warmer.event_pipeline import Pipeline
from cachewarm.warmer.inventory_walk import Walk
from cachewarm.warmer.renewal import VISITS_PER_SPREAD
from cachewarm.warmer.walk_rounds import VERIFYING_SHARE
from responder.clock import read_clock
from responder.feed.agent import FeedAgent
from responder.feed.local import LocalFeed
from responder.feed.poll import Who, open_feed

PAGE = 2_000


async def pages(owner_url: str, writer_url: str, certificates: int = 1_000_000, revoked: int = 100_000) -> list[Row]:
    """Time pages of the walk, anywhere in the inventory."""
    connection = await connect(writer_url)
    try:
        await add_issuer(connection, "bench", subject="CN=Bench", cert_der=b"bench", actor="bench")
        await seed(owner_url, "bench", certificates, revoked)
        times = []
        for at in range(40):
            after = bytes([0x5E, at * 6]) + bytes(14)
            begun = time.perf_counter()
            rows = await inventory_page(connection, "bench", after, limit=PAGE)
            times.append(time.perf_counter() - begun)
            assert len(rows) == PAGE
    finally:
        await connection.close()
    worst, usual = max(times) * 1e3, statistics.median(times) * 1e3
    name = f"page of {PAGE} of {certificates} certificates, {revoked} revoked"
    return [Row(name, "<= 30 ms", f"{usual:.1f} ms (worst {worst:.1f} ms)", usual <= 30)]


async def visits(urls: DatabaseURLs, valkey: EmbeddedValkey, keys: Path, certificates: int = 40_000) -> list[Row]:
    """Measure the CPU of visits that find nothing to do and of signatures, and reckon a day's idling from both.

    The processes of the writer, Postgres and Valkey are in it. It is how figures for inventories are had whose
    signatures would take hours.
    """
    connection, ring = await founded(urls, keys, certificates)
    feed = LocalFeed(read_clock)
    agent = FeedAgent(lambda: open_feed(urls.signer), Who(None, uuid4(), 30.0), feed, read_clock, 0.2)
    following = asyncio.create_task(agent.run())
    client, pool = connect_redis(valkey.url("writer")), SigningPool(os.cpu_count() or 1)
    publisher = Publisher(client)
    pipeline = Pipeline(feed, publisher, lambda: ring, lambda: int(time.time()), DAY)
    walk = Walk(pipeline, publisher, lambda: ring, lambda: int(time.time()), PAGE, pool)
    programs = [*psutil.Process().children(), psutil.Process()]
    try:
        while feed.as_of is None:
            await asyncio.sleep(0.01)
        used = [await _cpu_of_walk(walk, connection, programs) for _ in range(4)]
    finally:
        await pool.end()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await client.aclose()
        await connection.close()
    pages = certificates / PAGE
    visit = min(used[1:]) / pages
    signature = (used[0] - visit * pages) / (2 * certificates)
    rows = [
        Row(f"CPU of a visit of {PAGE} certificates, nothing due", "stated", f"{visit * 1e3:.1f} ms", True),
        Row("CPU of a record, signed and published", "stated", f"{signature * 1e6:.0f} us", True),
    ]
    for inventory, goal in ((1_000_000, 0.03), (10_000_000, 0.10)):
        per_s = inventory / PAGE * (VISITS_PER_SPREAD + 1) / (0.42 * DAY)
        visiting, signing = visit * per_s, signature * 2 * inventory / (0.42 * DAY)
        share = visiting + signing + VERIFYING_SHARE
        text = f"{share:.3f} (visits {visiting:.3f}, signatures {signing:.3f}, verifying {VERIFYING_SHARE})"
        rows.append(Row(f"reckoned: idle with {inventory} certificates", f"<= {goal}", text, share <= goal))
    return rows


async def _cpu_of_walk(walk: Walk, connection: Connection, programs: list[psutil.Process]) -> float:
    """Return the CPU seconds of one whole walk, in all programs that take part."""
    everything = {each.pid: each for one in programs for each in (one, *one.children(recursive=True))}
    before = {pid: _cpu_s(each) for pid, each in everything.items()}
    await walk.run(connection, lambda _: None)
    everything |= {each.pid: each for one in programs for each in (one, *one.children(recursive=True))}
    return sum(_cpu_s(each) - before.get(pid, 0.0) for pid, each in everything.items())


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return times.user + times.system
    return 0.0


def on_servers() -> list[Row]:
    """Run what needs a Postgres and a Valkey alone, each on a database of its own."""
    place = Path(tempfile.mkdtemp(prefix="fastocsp-scale-"))
    place.chmod(0o755)
    server, valkey = EmbeddedPostgres(place), EmbeddedValkey(place, maxmemory=1 << 30)
    try:
        server.start()
        valkey.start()
        keys = place / "ca-keys"
        keys.mkdir(mode=0o700)

        async def measure() -> list[Row]:
            first, second = await provision(server, "pages"), await provision(server, "visits")
            return [*await pages(first.owner, first.cli), *await visits(second, valkey, keys)]

        return asyncio.run(measure())
    finally:
        valkey.stop()
        server.stop()
        shutil.rmtree(place, ignore_errors=True)


def measure(small: bool) -> list[Row]:
    """Measure all rows about the writer; `small`: with a tenth of the inventory."""
    scale = 10 if small else 1
    return [
        *on_servers(),
        *scale_instance.idle(1_000_000 // scale, 100_000 // scale),
        *scale_instance.issuers(10_000 // scale),
    ]
