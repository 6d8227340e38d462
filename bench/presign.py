"""`make bench-presign`: signatures per second per core beside `openssl speed`, and a whole walk into a real Valkey.

The rates are taken in rounds, openssl and ours after one another, and the ratio of each round is kept: the machine does
other work. One process signs as the product does, pipe and all; "per core" is by the CPU time of that process. The walk
is the product's own (cachewarm/warmer/inventory_walk.py) over an inventory in an embedded Postgres, every record new.
"""

import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import asyncpg
import redis

from _fastocsp.ocsp.record import pack_record
from _fastocsp.ocsp.signing_runs import join_runs
from _fastocsp.wire.codes import GOOD
from cachewarm.ca.responder_certificate import ResponderPair
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs, provision
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.keys.soft_key import KeyKind
from cachewarm.ledger.connect import Connection, connect
from cachewarm.records import signing_process
from cachewarm.records.keyring import Keyring, Signing, load_keyring
from cachewarm.records.mint import check, unsigned_record
from cachewarm.records.publisher import Publisher
from cachewarm.records.publisher import connect as connect_redis
from cachewarm.records.signing_pool import BATCH, SigningPool
from cachewarm.records.statement import Statement
from cachewarm.warmer.event_pipeline import Pipeline
from cachewarm.warmer.inventory_walk import Count, Walk
from cachewarm.warmer.responder_rotation import rotate_due
from responder.clock import read_clock
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.feed.agent import FeedAgent
from responder.feed.local import LocalFeed
from responder.feed.machine import Position
from responder.feed.poll import Who, open_feed
from tests.cachewarm.conftest import house_of
from tests.support.plant import found_test_ca

RECORDS = int(os.environ.get("BENCH_RECORDS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
RESULTS = Path(__file__).parent / "presign.json"
NOW = int(time.time())
KINDS = {"ecdsap256": (KeyKind.P256, 20_000), "rsa2048": (KeyKind.RSA2048, 3_000)}
DAY = 86400.0

_FILL = """
insert into certificates (issuer_id, serial_number, subject, not_before, not_after)
  select 'ca', '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), '', now(), now() + interval '90 days'
    from generate_series(1, {count}) n;
"""


def openssl_speed(algorithm: str) -> float:
    """Signatures per second of one core."""
    said = subprocess.run(
        ["openssl", "speed", "-seconds", "1", "-mr", algorithm], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"^\+F\d+:\d+:\d+:([\d.]+):", said, re.MULTILINE)
    if found is None:
        raise ValueError(f"openssl speed says {said!r}")
    figure = float(found[1])
    return 1 / figure if figure < 1 else figure


def signing_of(kind: KeyKind) -> Signing:
    """A CA whose own key of that kind signs the answers."""
    house = house_of(kind, NOW)
    issuer = Issuer.from_certificate(house.chain[0].cert_der, issuer_id="root", issuer_no=1)
    responder = ResponderCertificate.from_der(issuer.cert_der)
    return Signing(issuer, ResponderPair(responder, house.root.key), templates(issuer, responder))


def unsigned(signing: Signing, count: int) -> list[tuple[bytes, bytes]]:
    """Serials of 16 bytes, all good."""
    stated = Statement(GOOD, NOW, NOW + 86400, Position(1, 1, b""))
    record = pack_record(unsigned_record(stated, signing.templates[1], NOW))
    return [(b"\x5e" + os.urandom(15), record) for _ in range(count)]


def one_core(signing: Signing, count: int) -> dict[str, float]:
    """Records per CPU second: signed as a signing process does it, the signature alone, and the check of one record."""
    asked = unsigned(signing, BATCH)
    pair = signing_process.Pair(signing.pair.key, dict(signing.templates))
    body, tbs = join_runs([run for each in asked for run in each]), signing.templates[1].tbs(*asked[0])
    begun = time.process_time()
    for _ in range(count // BATCH):
        signing_process.sign_all(pair, body)
    ours = count // BATCH * BATCH / (time.process_time() - begun)
    begun = time.process_time()
    for _ in range(count):
        signing.pair.key.sign(tbs)
    alone = count / (time.process_time() - begun)
    begun = time.process_time()
    for _ in range(count // 4):
        signing.pair.certificate.verify(signing.pair.key.sign(tbs), tbs)
    both = count // 4 / (time.process_time() - begun)
    return {"ours": ours, "cryptography alone": alone, "signed and verified": both}


async def by_pool(signing: Signing, processes: int, count: int) -> float:
    """Records per second of wall clock, through pipes, sealed, one in 256 verified."""
    pool = SigningPool(processes)
    try:
        await pool.sign(signing, unsigned(signing, 2 * BATCH * processes))
        asked = unsigned(signing, count)
        begun = time.perf_counter()
        records = await pool.sign(signing, asked)
        took = time.perf_counter() - begun
        check(records[-1], asked[-1][0], signing.templates[1], signing.pair.certificate)
        return count / took
    finally:
        await pool.end()


def rates(algorithm: str) -> dict[str, float]:
    """Medians over the rounds; each ratio is to the openssl speed of its own round."""
    kind, count = KINDS[algorithm]
    signing = signing_of(kind)
    rounds = []
    for _ in range(ROUNDS):
        speed = openssl_speed(algorithm)
        found = one_core(signing, count)
        for processes in (1, 2):
            found[f"pool of {processes}"] = asyncio.run(by_pool(signing, processes, count * processes))
        again = (speed + openssl_speed(algorithm)) / 2
        rounds.append(
            {"openssl speed": again} | found | {f"{name} / openssl": each / again for name, each in found.items()}
        )
    return {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}


async def founded(urls: DatabaseURLs, keys: Path, certificates: int) -> tuple[Connection, Keyring]:
    """A CA with a responder and an inventory; the keyring of it."""
    connection = await connect(urls.cli)
    await found_test_ca(connection, keys, name="CN=Bench CA", now=NOW)
    owner = await asyncpg.connect(urls.owner)
    await owner.execute(_FILL.format(count=certificates))
    await owner.execute("vacuum analyze certificates")
    await owner.close()
    await rotate_due(connection, keys, None, now=NOW, validity_s=30 * DAY, grace_s=7 * DAY)
    return connection, await load_keyring(connection, keys, None, int(time.time()))


async def walk(urls: DatabaseURLs, valkey: EmbeddedValkey, keys: Path) -> dict[str, float]:
    """The product's own walk over an empty Valkey, and over the full one."""
    connection, ring = await founded(urls, keys, RECORDS // 2)
    feed = LocalFeed(read_clock)
    agent = FeedAgent(lambda: open_feed(urls.signer), Who(None, uuid4(), 30.0), feed, read_clock, 0.2)
    following = asyncio.create_task(agent.run())
    while feed.as_of is None:
        await asyncio.sleep(0.01)
    client = connect_redis(valkey.url("writer"))
    publisher, pool = Publisher(client), SigningPool(os.cpu_count() or 1)
    pipeline = Pipeline(feed, publisher, lambda: ring, lambda: int(time.time()), DAY)
    walking = Walk(pipeline, publisher, lambda: ring, lambda: int(time.time()), 2000, pool)
    [signing] = ring.signing.values()
    found: dict[str, float] = {}
    try:
        found["bound_per_s"] = await bound(pool, signing)
        with redis.Redis.from_url(valkey.url("writer")) as asked:
            before = asked.info("memory")["used_memory"]
            whose: dict[str, Sequence[int | None]] = {
                "warmer": [os.getpid()],
                "signing": pool.pids,
                "valkey": [valkey.pid],
            }
            spent = {name: cpu_s(pids) for name, pids in whose.items()}
            count, found["first_walk_s"] = await timed(walking, connection)
            for name, pids in whose.items():
                found[f"cpu_us_a_record_{name}"] = (cpu_s(pids) - spent[name]) / count.signed * 1e6
            await asyncio.sleep(1)
            found["octets_a_record"] = (asked.info("memory")["used_memory"] - before) / count.signed
            found["keys"], found["records"] = asked.dbsize(), count.signed
        again, found["second_walk_s"] = await timed(walking, connection)
        found["signed_again"] = again.signed
        found["bound_per_s"] = (found["bound_per_s"] + await bound(pool, signing)) / 2
        found["records_per_s"] = found["records"] / found["first_walk_s"]
        found["of_the_bound"] = found["records_per_s"] / found["bound_per_s"]
    finally:
        await pool.end()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await client.aclose()
        await connection.close()
    return {name: round(figure, 3) for name, figure in found.items()}


def cpu_s(pids: Sequence[int | None]) -> float:
    """Seconds of CPU that these processes have had."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


async def bound(pool: SigningPool, signing: Signing) -> float:
    """Records per second when they are signed alone: by the same processes, nothing read and nothing published."""
    asked = unsigned(signing, 40_000)
    await pool.sign(signing, asked[: 4 * BATCH])
    begun = time.perf_counter()
    await pool.sign(signing, asked)
    return len(asked) / (time.perf_counter() - begun)


async def timed(walking: Walk, connection: Connection) -> tuple[Count, float]:
    """One walk, and its seconds."""
    begun = time.perf_counter()
    count = await walking.run(connection, lambda _: None)
    return count, time.perf_counter() - begun


def end_to_end() -> dict[str, float]:
    """The walk on servers of its own."""
    place = Path(tempfile.mkdtemp(prefix="fastocsp-bench-"))
    place.chmod(0o755)
    server, valkey = EmbeddedPostgres(place), EmbeddedValkey(place, maxmemory=2 << 30)
    try:
        server.start()
        valkey.start()
        keys = place / "ca-keys"
        keys.mkdir(mode=0o700)
        return asyncio.run(_provisioned(server, valkey, keys))
    finally:
        valkey.stop()
        server.stop()
        shutil.rmtree(place, ignore_errors=True)


async def _provisioned(server: EmbeddedPostgres, valkey: EmbeddedValkey, keys: Path) -> dict[str, float]:
    return await walk(await provision(server), valkey, keys)


def main() -> None:
    """Measure, print, keep the figures."""
    found: dict[str, object] = {"end to end": end_to_end()}
    found |= {algorithm: rates(algorithm) for algorithm in KINDS}
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.strip()
    found["about"] = {
        "python": platform.python_version(),
        "openssl": said,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
