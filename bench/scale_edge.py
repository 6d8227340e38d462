"""Rows of `make bench-scale` about an edge: a cold start from Redis, and what sampling the coverage costs.

`cold_edge` needs no ledger: a Valkey of its own with records of one issuer, signed by one key of the bench, and a table
in this process that the warm-up's own code fills at its own pace. The share of hits is computed from what is in the
table at each second: rank r of the Zipf distribution (s = 1.0) is asked with a share of 1 / (r * H(n)).
"""

import asyncio
import contextlib
import hashlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import psutil
from redis import Redis

from _fastocsp.ocsp.record import pack_record
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record
from bench.presign import signing_of
from bench.scale_rows import Row
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.keys.soft_key import KeyKind
from responder.domain.catalog import Catalog
from responder.domain.key import Key
from responder.domain.redis_layout import record_name
from responder.edge.usage import USAGE_NAME, UsageLog, load_usage
from responder.worker.warm_up import Throttle, WarmUp

ISSUER_NO, ALGORITHM = 1, codes.SHA256
TABLE_BYTES = 1 << 29
GOAL_SHARE, GOAL_WITHIN_S, GOAL_WHOLE_S, GOAL_CORE = 0.95, 20.0, 300.0, 0.5


def serial(number: int) -> bytes:
    """Of 16 bytes that look like chance: neighbours of ranks are no neighbours of names."""
    return b"\x5e" + hashlib.blake2b(number.to_bytes(8, "big"), digest_size=15).digest()


def catalog_and_records(count: int, seed_now: int, *, is_signed: bool) -> tuple[Catalog, Iterator[tuple[Key, bytes]]]:
    """A catalog of one issuer, and records of it in order of their rank.

    What has a tag is not verified, so a signature by chance costs the same and is made faster.
    """
    signing = signing_of(KeyKind.P256)
    template, responder = signing.templates[ALGORITHM], signing.pair.certificate
    plain = Record(
        ALGORITHM, codes.GOOD, responder.responder, seed_now - 600, seed_now + 80_000, seed_now - 600, generation=1
    )

    def made() -> Iterator[tuple[Key, bytes]]:
        for number in range(count):
            name = serial(number)
            signature = signing.pair.key.sign(template.tbs(name, plain)) if is_signed else b"\1" + os.urandom(63)
            yield Key(ISSUER_NO, ALGORITHM, name), pack_record(plain._replace(signature=signature))

    return Catalog(issuers=(signing.issuer,), responders={ISSUER_NO: (responder,)}), made()


def fill_redis(url: str, count: int, *, is_signed: bool) -> Catalog:
    """Put the records into Redis; the catalog that verifies them."""
    catalog, records = catalog_and_records(count, int(time.time()), is_signed=is_signed)
    with Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for number, (key, octets) in enumerate(records):
            pipeline.set(record_name(key), octets)
            if number % 5000 == 4999:
                pipeline.execute()
            if number % 200_000 == 199_999:
                print(f"{number + 1} of {count} records", file=sys.stderr)
        pipeline.execute()
    return catalog


async def life_before(folder: Path, url: str, count: int, asked: int) -> None:
    """Leave the usage file of an edge that had all records and was asked so often, by Zipf, over eight minutes."""
    table = Table(TABLE_BYTES)
    with Redis.from_url(url) as client:
        for at in range(0, count, 500):
            keys = [Key(ISSUER_NO, ALGORITHM, serial(number)) for number in range(at, min(at + 500, count))]
            for key, octets in zip(keys, client.mget([record_name(key) for key in keys]), strict=True):
                table.put(*key, octets)
    log = UsageLog(folder, table)
    weights = list(accumulate(1 / rank for rank in range(1, count + 1)))
    minutes, now = 8, 1_700_000_000
    for minute in range(minutes):
        table.set_tick(now + 64 * minute)
        ranks = set(random.choices(range(count), cum_weights=weights, k=asked // minutes))
        for rank in ranks:
            table.get(ISSUER_NO, ALGORITHM, serial(rank))
        await log.look(now + 64 * minute, with_tags=minute == minutes - 1)


def shares(table: Table, count: int, names: list[bytes]) -> tuple[float, float]:
    """Share of questions that are hits, and of records that are there, from a sample of ranks in proportion."""
    harmonic = sum(1 / rank for rank in range(1, count + 1))
    top = min(count, 2000)
    hits = sum(1 / (rank + 1) for rank in range(top) if table.peek(ISSUER_NO, ALGORITHM, names[rank]) is not None)
    # behind the top: ranks at random, each for its share of its band
    bands, low = 40, top
    found = 0.0
    for band in range(bands):
        high = int(top * (count / top) ** ((band + 1) / bands)) if count > top else count
        if high <= low:
            continue
        weight = sum(1 / rank for rank in range(low + 1, high + 1))
        drawn = [random.randrange(low, high) for _ in range(200)]
        there = sum(table.peek(ISSUER_NO, ALGORITHM, names[rank]) is not None for rank in drawn) / len(drawn)
        hits += weight * there
        found += there * (high - low)
        low = high
    return hits / harmonic, len(table) / count


def _filler(url: str, folder: Path, fd: int, catalog_text: bytes, ready: "multiprocessing.synchronize.Event") -> None:
    """In a process of its own, as on a host."""
    from responder.domain.catalog import load_catalog

    os.nice(19)
    catalog = load_catalog(catalog_text.decode())
    usage = load_usage(folder / USAGE_NAME)
    client = Redis.from_url(url, socket_timeout=5)
    ready.set()
    work = WarmUp(client, Table(TABLE_BYTES, fd), catalog, usage, Throttle(GOAL_CORE))
    print("filled:", work.run(), "CPU", round(time.process_time(), 1), "s", file=sys.stderr)


def cold_edge(count: int, *, asked: int, has_usage: bool) -> list[Row]:
    """Fill a table of that many records; rows of the share of hits after GOAL_WITHIN_S and of the whole time."""
    from _fastocsp.table.memory import make_table_memory
    from responder.domain.catalog import dump_catalog

    folder = Path(tempfile.mkdtemp(prefix="fastocsp-bench-", dir="/dev/shm"))
    folder.chmod(0o711)
    server = EmbeddedValkey(folder, maxmemory=4 << 30)
    server.start()
    try:
        catalog = fill_redis(server.url("writer"), count, is_signed=not has_usage)
        if has_usage:
            asyncio.run(life_before(folder, server.url("reader"), count, asked))
        names = [serial(number) for number in range(count)]
        fd = make_table_memory(TABLE_BYTES)
        os.set_inheritable(fd, True)
        table = Table(TABLE_BYTES, fd)
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        process = context.Process(
            target=_filler, args=(server.url("reader"), folder, fd, dump_catalog(catalog).encode(), ready)
        )
        process.start()
        ready.wait()
        begun = time.monotonic()
        at_goal = (0.0, 0.0)
        reached: float | None = None
        reached_cpu = used = 0.0
        while process.is_alive():
            process.join(1.0)
            passed, (hits, there) = time.monotonic() - begun, shares(table, count, names)
            if passed <= GOAL_WITHIN_S + 1:
                at_goal = hits, there
            with contextlib.suppress(psutil.Error):
                used = sum(psutil.Process(process.pid).cpu_times()[:2])
            if reached is None and hits >= GOAL_SHARE:
                reached, reached_cpu = passed, used
            print(f"{passed:6.1f} s, {used:.1f} s of CPU: {hits:.1%} hits, {there:.1%} of the records", file=sys.stderr)
        whole_s, whole = time.monotonic() - begun, len(table) / count
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    kind = "restart" if has_usage else "first start"
    reached_text = "never" if reached is None else f"{reached:.0f} s and {reached_cpu:.1f} s of CPU"
    return [
        Row(
            f"cold edge, {kind}, {count:,} records, Zipf 1.0: hits after {GOAL_WITHIN_S:.0f} s",
            f">= {GOAL_SHARE:.0%}",
            f"{at_goal[0]:.1%} ({at_goal[1]:.0%} of the records); {GOAL_SHARE:.0%} after {reached_text}",
            at_goal[0] >= GOAL_SHARE,
        ),
        Row(
            f"cold edge, {kind}: whole table at {GOAL_CORE} core",
            f"<= {GOAL_WHOLE_S:.0f} s",
            f"{whole_s:.0f} s and {used:.1f} s of CPU, {whole:.1%} of the records",
            whole_s <= GOAL_WHOLE_S and whole > 0.999,
        ),
    ]
