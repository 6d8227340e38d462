"""`make bench-coherence`: what the promise costs. Snapshot, memory, membership, commit to every edge, `revoke --wait`.

Real servers on one machine: an embedded Postgres for the set of a million, the quickstart with two workers for the
waits. Every wait is of a revocation of its own, through the product's own code (revoke.revoke).
"""

import asyncio
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import asyncpg

from _fastocsp.ocsp.record import pack_record
from _fastocsp.revoked.rows import merge_groups
from _fastocsp.wire.codes import GOOD, SHA1
from _fastocsp.wire.types import Record
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs, provision
from cachewarm.ledger.connect import Connection, connected
from cachewarm.revocation import revoke
from cachewarm.revocation.bulk_revoke import revoke_many
from cachewarm.revocation.confirmation import Outcome, Waiting
from responder.clock import NS, read_clock
from responder.domain.status import CRLReason
from responder.feed.agent import FeedAgent
from responder.feed.machine import Renew
from responder.feed.poll import Who, open_feed
from responder.feed.shared import SharedFeed, image_path
from responder.hotpath.gate import Gate
from tests.support.breakage import certificates
from tests.support.instance import Instance

MILLION = int(os.environ.get("BENCH_REVOKED", "1000000"))
BULK, BULKS = 500, 20
WAITS = int(os.environ.get("BENCH_WAITS", "300"))
RESULTS = Path(__file__).parent / "coherence.json"

_FILL = """
insert into issuers (issuer_id, subject, cert_der, responder_mode) values ('big', 'CN=big', '\\x30', 'delegated');
alter table certificate_revocations disable trigger user;
insert into certificate_revocations (issuer_id, serial_number, revoked_at, reason, revoked_by)
  select 'big', '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), now(), 1, 'bench'
    from generate_series(1, {count}) n;
"""


def folder() -> Path:
    """That the account of Postgres can reach."""
    made = Path(tempfile.mkdtemp(prefix="fastocsp-bench-"))
    made.chmod(0o755)
    return made


async def take_snapshot(urls: DatabaseURLs, run: Path) -> dict[str, float]:
    """The agent's own way from an empty edge to a set that workers see."""
    run.mkdir()
    shared = SharedFeed(run)
    who = Who("bench", uuid4(), 30.0)
    agent = FeedAgent(lambda: open_feed(urls.edge), who, shared, read_clock, 0.2)
    agent.boot()
    begun = time.perf_counter()
    task = asyncio.create_task(agent.run())
    while shared.image is None or shared.image.listed < MILLION:
        await asyncio.sleep(0.005)
    took = time.perf_counter() - begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    octets = image_path(run, 2).stat().st_size if image_path(run, 2).exists() else image_path(run, 1).stat().st_size
    return {"snapshot_s": round(took, 2), "image_mb": round(octets / 1e6, 1)}


def cost_of_membership(place: Path) -> dict[str, float]:
    """Nanoseconds of one question to a set of a million above those to an empty one, by the same door; best of seven.

    `membership_ns`: a thousand certificates are asked for, as on the hot path; `cold_ns`: never one twice, so that
    the set itself is in no cache.
    """
    rng = random.Random(7)
    serials = [b"\x5e" + rng.randbytes(15) for _ in range(MILLION)]
    cold = [b"\x5e" + rng.randbytes(15) for _ in range(200_000)]
    found = {}
    for name, listed in (("empty", []), ("million", serials)):
        run = place / name
        run.mkdir()
        shared = SharedFeed(run)
        shared.replace(merge_groups({}, [(1, 1, serial, 1000, 1) for serial in listed]))
        now = read_clock()
        shared.renew(Renew(now.boot + 60 * NS, now.mono + 60 * NS, now.wall_s, 1, 0))
        gate = Gate(run)
        found[name] = [min(asked_ns(gate, asked) for _ in range(7)) for asked in (cold[:1000] * 200, cold)]
    (call, call_cold), (hot, cold_ns) = found["empty"], found["million"]
    return {
        "call_ns": round(call, 1),
        "membership_ns": round(hot - call, 1),
        "cold_ns": round(cold_ns - call_cold, 1),
        "gate_ns": round(cost_of_the_gate(Gate(place / "million"), cold[:1000]) - call, 1),
    }


def cost_of_the_gate(gate: Gate, asked: list[bytes]) -> float:
    """Nanoseconds of lease, set and both clocks for a record that passes, with the record's reading and a call."""
    now = int(time.time())
    record = pack_record(Record(SHA1, GOOD, bytes(8), now, now + 3600, now, 255, 0))
    best = float("inf")
    for _ in range(7):
        begun = time.perf_counter()
        for serial in asked * 100:
            gate.check_record(1, serial, record)
        best = min(best, time.perf_counter() - begun)
    return best / len(asked) / 100 * 1e9


def asked_ns(gate: Gate, asked: list[bytes]) -> float:
    """Of one question."""
    begun = time.perf_counter()
    for serial in asked:
        gate.is_revoked(1, serial)
    return (time.perf_counter() - begun) / len(asked) * 1e9


async def waits(instance: Instance) -> dict[str, float]:
    """Milliseconds from COMMIT to the acknowledgement of every edge, one revocation after the other."""
    took = []
    async with connected(instance.facts["database_url"]) as connection:
        for path in certificates(instance)[:WAITS]:
            done = await revoke.revoke(
                connection,
                revoke.Target("demo", bytes.fromhex(path.stem)),
                reason=CRLReason.superseded,
                invalidity_date=None,
                actor="bench",
                waiting=Waiting(True),
            )
            assert done.waited.outcome is Outcome.CONFIRMED
            took.append(done.waited.waited_s * 1000)
            await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        bulks = [await wait_for_bulk(connection, chosen) for chosen in batches(certificates(instance)[WAITS:])]
    return shown("wait", took) | shown(f"bulk_of_{BULK}", bulks)


async def wait_for_bulk(connection: Connection, chosen: list[Path]) -> float:
    """Milliseconds from the bulk's COMMIT to the acknowledgement of every edge."""
    serials = [bytes.fromhex(path.stem) for path in chosen]
    done = await revoke_many(
        connection, "demo", serials, reason=CRLReason.superseded, actor="bench", waiting=Waiting(True)
    )
    assert done.waited.outcome is Outcome.CONFIRMED
    await asyncio.sleep(0.3)
    return done.waited.waited_s * 1000


def batches(paths: list[Path]) -> list[list[Path]]:
    """Whole ones alone."""
    return [paths[at : at + BULK] for at in range(0, len(paths) - BULK + 1, BULK)]


def shown(name: str, took: list[float]) -> dict[str, float]:
    """Figures of these milliseconds."""
    took = sorted(took)
    return {
        f"{name}s": len(took),
        f"{name}_p50_ms": round(statistics.median(took), 2),
        f"{name}_p90_ms": round(took[int(len(took) * 0.9)], 2),
        f"{name}_p99_ms": round(took[int(len(took) * 0.99)], 2),
        f"{name}_max_ms": round(took[-1], 2),
    }


async def fill(server: EmbeddedPostgres) -> DatabaseURLs:
    """A million revoked, without a feed event each."""
    urls = await provision(server, edge="bench")
    connection = await asyncpg.connect(urls.owner)
    try:
        await connection.execute(_FILL.format(count=MILLION))
        await connection.execute("vacuum analyze certificate_revocations")
    finally:
        await connection.close()
    return urls


def main() -> None:
    """Measure, print, write coherence.json."""
    place = folder()
    found: dict[str, float] = {"revoked": MILLION}
    try:
        server = EmbeddedPostgres(place)
        server.start()
        try:
            found |= asyncio.run(take_snapshot(asyncio.run(fill(server)), place / "run"))
        finally:
            server.stop()
        found |= cost_of_membership(place)
        # a test's instance makes CRLs and walks far more often than the product does by default
        instance = Instance(
            place / "data",
            certificates=WAITS + BULK * BULKS + 20,
            revoked=1,
            FASTOCSP_READY_COVERAGE="1",
            FASTOCSP_CRL_DEBOUNCE="5s",
            FASTOCSP_WARM_INTERVAL="30s",
        ).start()
        try:
            time.sleep(3)
            found |= asyncio.run(waits(instance))
        finally:
            instance.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
