"""Rows of `make bench-scale` about the writer: pages of the walk, an idle warmer, new certificates, many issuers.

Inventories are synthetic: rows straight by SQL, with the ledger's triggers off where they would only cost time. Every
function seeds what it needs in a fresh database, measures, and returns rows of (name, goal, value, verdict).
"""

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil
import redis

from bench.presign import DAY, founded
from bench.scale_rows import Row
from cachewarm.ca.authority import Authority, init_root
from cachewarm.ca.certificate import parse_subject
from cachewarm.ca.issuer_rows import responder_row
from cachewarm.ca.responder_certificate import key_path, make
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs, provision
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.keys.soft_key import KeyKind, SoftKey
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
from tests.support.breakage import ready
from tests.support.instance import Instance

PAGE = 2_000
#: What tells the programs of a quickstart apart, in their command lines.
ROLES = ("valkey", "postgres", "signing_process", "child warmer", "child signer", "child admin", "child edge", "main")

_CERTIFICATES = """
insert into certificates (issuer_id, serial_number, subject, not_before, not_after, status, entered)
  select $1, '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), '', now() - interval '1 day',
         now() + interval '1 day' + random() * interval '89 days', case when n <= $4 then 'revoked' else 'good' end,
         {entered}
    from generate_series($2::int, $3::int) n"""
_REVOCATIONS = """
insert into certificate_revocations (issuer_id, serial_number, revoked_at, reason)
  select $1, '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), now() - interval '1 hour', 1
    from generate_series(1, $2::int) n"""


async def seed(owner_url: str, issuer_id: str, certificates: int, revoked: int, *, new: bool = False) -> None:
    """Enter that many certificates of an issuer that exists, and revoke the first ones; then collect statistics.

    `new`: a warmer that runs notices them.
    """
    sql = _CERTIFICATES.format(entered="pg_current_xact_id()" if new else "null")
    owner = await asyncpg.connect(owner_url)
    try:
        for table in ("certificates", "certificate_revocations"):
            await owner.execute(f"alter table {table} disable trigger user")
        for first in range(1, certificates + 1, 250_000):
            await owner.execute(sql, issuer_id, first, min(first + 249_999, certificates), revoked)
        await owner.execute(_REVOCATIONS, issuer_id, revoked)
        for table in ("certificates", "certificate_revocations"):
            await owner.execute(f"alter table {table} enable trigger user")
            await owner.execute(f"vacuum analyze {table}")
    finally:
        await owner.close()


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


def idle(certificates: int = 1_000_000, revoked: int = 100_000, seconds: float = 60.0) -> list[Row]:
    """Measure the share of a core that a quickstart uses while nobody asks: empty, filling, and full."""
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-scale-"))
    folder.chmod(0o755)
    instance = Instance(folder / "data", 1, 60, 1, FASTOCSP_WARM_INTERVAL="30s", FASTOCSP_CRL_DEBOUNCE="5s").start()
    try:
        supervisor = psutil.Process(instance.facts["pids"]["supervisor"])
        time.sleep(10)
        empty = core_share(supervisor, seconds)
        owner = instance.facts["owner_database_url"]
        asyncio.run(seed(owner, "demo", certificates, revoked, new=True))
        begun = time.monotonic()
        with redis.Redis.from_url(instance.facts["redis_url"]) as client:
            while client.dbsize() < 1.99 * certificates:
                time.sleep(0.5)
                if time.monotonic() - begun > 20 + certificates / 2_000:
                    raise SystemExit(f"only {client.dbsize()} records")
        warmed = time.monotonic() - begun
        time.sleep(60)
        full = core_share(supervisor, seconds)
        memory = {name: psutil.Process(instance.facts["pids"][name]).memory_info().rss >> 20 for name in ("warmer",)}
    finally:
        instance.stop()
        shutil.rmtree(folder, ignore_errors=True)
    above = sum(full.values()) - sum(empty.values())
    by_name = ", ".join(f"{name} {full[name] - empty.get(name, 0):+.3f}" for name in sorted(full))
    size = f"{certificates} certificates, {revoked} revoked"
    return [
        Row(
            f"idle above empty ({sum(empty.values()):.3f}), {size}",
            "<= 0.03",
            f"{above:.3f} ({by_name})",
            above <= 0.03,
        ),
        Row(
            f"records per second, {size}",
            ">= 25000",
            f"{2 * certificates / warmed:.0f}",
            2 * certificates / warmed >= 25e3,
        ),
        Row(f"memory of the warmer, {size}", "stated", f"{memory['warmer']} MB", True),
    ]


def issuers(count: int = 10_000, certificates: int = 10, seconds: float = 60.0) -> list[Row]:
    """Measure start, idle share of a core and shutdown with so many issuers, whose responders' keys are here."""
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-scale-"))
    folder.chmod(0o755)
    instance = Instance(folder / "data", 1, 60, 1, FASTOCSP_WARM_INTERVAL="30s").start()
    try:
        time.sleep(5)
        empty = core_share(psutil.Process(instance.facts["pids"]["supervisor"]), seconds)
        asyncio.run(seed_issuers(instance.facts["owner_database_url"], folder / "data" / "keys", count, certificates))
        instance.stop()
        begun = time.monotonic()
        instance.start()
        while not is_ready(instance):
            time.sleep(0.1)
        ready_s = time.monotonic() - begun
        with redis.Redis.from_url(instance.facts["redis_url"]) as client:
            while client.dbsize() < 1.99 * count * certificates and time.monotonic() < begun + 180:
                time.sleep(0.5)
            warm_s, records = time.monotonic() - begun, client.dbsize()
        time.sleep(30)
        full = core_share(psutil.Process(instance.facts["pids"]["supervisor"]), seconds)
        begun = time.monotonic()
        instance.stop()
        stop_s = time.monotonic() - begun
    finally:
        instance.stop()
        shutil.rmtree(folder, ignore_errors=True)
    by_name = ", ".join(f"{name} {full[name]:.3f}" for name in sorted(full))
    idle_share, of_one = sum(full.values()), sum(empty.values())
    return [
        Row(f"start with {count:,} issuers, until ready", "<= 20 s", f"{ready_s:.1f} s", ready_s <= 20),
        Row(f"{records:,} records with {count:,} issuers", "stated", f"{warm_s:.0f} s after the start", True),
        Row(
            f"idle, {count:,} issuers, edge included (one: {of_one:.3f})",
            "<= 0.05",
            f"{idle_share:.3f} ({by_name})",
            idle_share <= 0.05,
        ),
        Row(f"shutdown with {count:,} issuers", "<= 3 s", f"{stop_s:.1f} s", stop_s <= 3),
    ]


def is_ready(instance: Instance) -> bool:
    """Return whether the public listener says so."""
    with suppress(OSError):
        return ready(instance)[0] == 200
    return False


async def seed_issuers(owner_url: str, keys: Path, count: int, certificates: int) -> None:
    """Enter CAs whose keys are elsewhere, each with a responder whose key is in that folder, and certificates."""
    owner = await asyncpg.connect(owner_url)
    now, ca_key = int(time.time()), SoftKey.generate(KeyKind.P256)
    stat = keys.stat()
    made = []
    try:
        for number in range(count):
            name = f"ca{number:05d}"
            root = init_root(ca_key, parse_subject(f"CN=CA {number},O=Scale"), now=now)
            responder, key = make(Authority(root.certificate, ca_key), name, now=now)
            path = key_path(keys, name)
            key.store(path)
            os.chown(path, stat.st_uid, stat.st_gid)
            row = responder_row(responder, path)
            made.append(
                (name, root.cert_der, row.cert_subject, row.serial_number, row.not_before, row.not_after, row.cert_der)
            )
        await owner.executemany(
            "insert into issuers (issuer_id, subject, cert_der, responder_mode) values ($1, $1, $2, 'external')",
            [each[:2] for each in made],
        )
        await owner.executemany(
            """insert into ocsp_responder_certs
                 (issuer_id, cert_subject, serial_number, not_before, not_after, cert_der)
                 values ($1, $2, $3, $4, $5, $6)""",
            [(each[0], *each[2:]) for each in made],
        )
        await owner.execute(
            """insert into certificates (issuer_id, serial_number, subject, not_before, not_after)
                 select issuer_id, '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), '', now(),
                        now() + interval '90 days'
                   from issuers, generate_series(1, $1::int) n where responder_mode = 'external'""",
            certificates,
        )
        await owner.execute("analyze")
    finally:
        await owner.close()


def core_share(supervisor: psutil.Process, seconds: float) -> dict[str, float]:
    """Return the share of a core of each program of an instance, for so long."""
    before = cpu_of(supervisor)
    time.sleep(seconds)
    after = cpu_of(supervisor)
    return {name: (after[name] - before.get(name, 0)) / seconds for name in after}


def cpu_of(supervisor: psutil.Process) -> dict[str, float]:
    """Return CPU seconds by program so far, those of children that have ended included."""
    used: defaultdict[str, float] = defaultdict(float)
    for process in [supervisor, *supervisor.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times, line = process.cpu_times(), " ".join(process.cmdline())
            role = next((each for each in ROLES if each in line), process.name())
            used[role] += times.user + times.system
            if role == "postgres":
                used[role] += times.children_user + times.children_system
    return used


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
    return [*on_servers(), *idle(1_000_000 // scale, 100_000 // scale), *issuers(10_000 // scale)]
