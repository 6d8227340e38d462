"""Rows of `make bench-scale` about a whole instance without requests: its share of a core, its start, its shutdown."""

import asyncio
import os
import shutil
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import redis

from bench.scale_rows import Row
from bench.scale_seed import seed
from cachewarm.ca.authority import Authority, init_root
from cachewarm.ca.certificate import parse_subject
from cachewarm.ca.issuer_rows import responder_row
from cachewarm.ca.responder_certificate import key_path, make
from cachewarm.keys.soft_key import KeyKind, SoftKey
from tests.support.breakage import ready
from tests.support.instance import Instance

#: What tells the programs of a quickstart apart, in their command lines.
ROLES = (
    "valkey",
    "postgres",
    "signing_process",
    "child warmer",
    "child ca_signer",
    "child signer",
    "child admin",
    "child edge",
    "main",
)


def idle(certificates: int = 1_000_000, revoked: int = 100_000, seconds: float = 60.0) -> list[Row]:
    """Measure the share of a core that a quickstart uses without requests: empty, filling, and full."""
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
