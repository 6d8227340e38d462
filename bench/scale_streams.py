"""A part of `make bench-scale`: imports, bulk revocation and CRLs of a million, and what commands need to start.

Each function prints its rows (what, goal, value) and returns them. Real servers, and commands as processes of their
own; the embedded Postgres has the settings of the quickstart. Figures of a busy machine are worth little: the CPU time
is printed beside the wall clock. BENCH_LINES scales the large rows.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import asyncpg

from bench import scale_rows
from bench.scale_footprint import compiled
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs, provision
from cachewarm.ledger.audit import verify_audit
from cachewarm.ledger.connect import connected
from cachewarm.revocation.bulk_revoke import revoke_many
from cachewarm.revocation.confirmation import Waiting
from cachewarm.revocation.revoke import Target, revoke
from responder.domain.status import CRLReason

LINES = int(os.environ.get("BENCH_LINES", "1000000"))
SMALL = min(100_000, LINES)
BULK = min(100_000, LINES // 2)
STARTS = 10

_FILL_REVOKED = """
alter table certificate_revocations disable trigger user;
insert into certificate_revocations (issuer_id, serial_number, revoked_at, reason, revoked_by)
  select issuer_id, serial_number, now(), 1, 'bench' from certificates limit {count} on conflict do nothing;
alter table certificate_revocations enable trigger user;
"""


# A process of its own, which is small: a command's peak memory is at least that of the process which starts it.
_RUN = """
import json, os, resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
wall_s, usage = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}))
"""


@dataclass(frozen=True)
class Row:
    """One line of the table; a value above the goal misses it, unless `at_least`."""

    name: str
    unit: str
    goal: float
    value: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the goal is reached."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def line(self) -> scale_rows.Row:
        """Return it as text, as the other parts of the bench print theirs."""
        sign = ">=" if self.at_least else "<="
        return scale_rows.Row(
            self.name, f"{sign} {self.goal:g} {self.unit}", f"{self.value:.4g} {self.unit}", self.holds
        )


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a command took: wall clock and CPU in seconds, its peak memory in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Ledger:
    """A running Postgres with a migrated database, and a working folder beside it."""

    urls: DatabaseURLs
    folder: Path

    def run(self, *words: object) -> Ended:
        """Run `fastocsp` with those words as a process of its own."""
        environ = (
            os.environ
            | compiled(self.folder)
            | {
                "FASTOCSP_DATABASE_URL": self.urls.cli,
                "FASTOCSP_CA_SIGNER": "off",
                "FASTOCSP_DATA_DIR": str(self.folder / "data"),
            }
        )
        command = [sys.executable, "-m", "cachewarm.cli.main", *map(str, words)]
        done = subprocess.run([sys.executable, "-c", _RUN, *command], env=environ, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr.decode()}")
        return Ended(**json.loads(done.stdout))


@contextmanager
def ledger() -> Iterator[Ledger]:
    """A new database with the local root `root`; everything is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-bench-"))
    folder.chmod(0o755)
    try:
        server = EmbeddedPostgres(folder)
        server.start()
        try:
            made = Ledger(asyncio.run(provision(server)), folder)
            made.run("ca", "init", "--id", "root", "--subject", "CN=Root", "--public-url", "http://ocsp.example")
            yield made
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_index(path: Path, count: int, first: int = 0) -> None:
    """Write an index.txt of that many lines, a tenth of them revoked, with random serial numbers."""
    with path.open("w") as file:
        for n in range(first, first + count):
            day, serial = (
                f"{n % 28 + 1:02d}{n // 3600 % 24:02d}{n // 60 % 60:02d}{n % 60:02d}",
                serial_of(n).hex().upper(),
            )
            what = f"R\t4001{day}Z\t2501{day}Z,keyCompromise" if n % 10 == 0 else f"V\t4001{day}Z\t"
            file.write(f"{what}\t{serial}\tunknown\t/C=DE/O=Example/CN=host-{n}.example.org\n")


def serial_of(n: int) -> bytes:
    """A random serial number of 16 bytes."""
    return b"\x4e" + sha256(n.to_bytes(8)).digest()[:15]


def shown(rows: list[Row], *remarks: str) -> list[Row]:
    """Say what is worth knowing beside the rows, and return them."""
    for remark in remarks:
        print(remark, file=sys.stderr)
    return rows


def imports(at: Ledger) -> list[Row]:
    """Import 100,000 and a million lines of other certificates."""
    rows = []
    for name, first, count, goal_s in (("100k", LINES, SMALL, 3.0), ("1M", 0, LINES, 30.0)):
        path = at.folder / "index.txt"
        write_index(path, count, first)
        ended = at.run("import", "openssl", path, "--issuer", "root")
        rows.append(Row(f"import of {name} index lines ({count})", "s", goal_s, ended.wall_s))
        rows.append(Row(f"import of {name} index lines, memory of the command", "MB", 80, ended.peak_mb))
    return shown(rows)


def bulk(at: Ledger) -> list[Row]:
    """Revoke 100,000 certificates that the million lines named as valid, with single revocations beside it."""
    return shown(asyncio.run(_bulk(at)))


async def _bulk(at: Ledger) -> list[Row]:
    serials = [serial_of(n) for n in range(LINES) if n % 10][: BULK + 1000]
    singles, many = serials[:1000], serials[1000:]
    waits: list[float] = []
    async with connected(at.urls.cli) as connection, connected(at.urls.cli) as beside:

        async def alone() -> None:
            for serial in singles:
                begun = time.perf_counter()
                await revoke(
                    beside,
                    Target("root", serial),
                    reason=CRLReason.superseded,
                    invalidity_date=None,
                    actor="bench",
                    waiting=Waiting(True),
                )
                waits.append(time.perf_counter() - begun)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(alone())
        begun = time.perf_counter()
        done = await revoke_many(connection, "root", many, reason=CRLReason.superseded, actor="bench")
        took = time.perf_counter() - begun
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert done.result is not None
        assert done.result.changed == len(many)
    async with connected(at.urls.owner) as owner:
        assert (await verify_audit(owner)).broken_at is None
    p99 = statistics.quantiles(waits, n=100)[98] if len(waits) > 1 else waits[0]
    return [
        Row(f"bulk revocation of {len(many)}, audit and feed included", "/s", 20_000, len(many) / took, at_least=True),
        Row(f"`revoke --wait` beside it, p99 of {len(waits)}", "ms", 100, p99 * 1000),
    ]


def crls(at: Ledger) -> list[Row]:
    """Make the CRL of a million entries, with one of a million before it."""
    asyncio.run(_fill(at.urls))
    at.run("crl", "generate", "root", "--force")
    ended = at.run("crl", "generate", "root", "--force")
    return shown(
        [
            Row(f"`crl generate` of {LINES} entries", "s", 3, ended.wall_s),
            Row(f"`crl generate` of {LINES} entries, memory", "MB", 150, ended.peak_mb),
        ],
        f"{ended.cpu_s:.1f} s of CPU in the command",
    )


async def _fill(urls: DatabaseURLs) -> None:
    owner = await asyncpg.connect(urls.owner)
    try:
        await owner.execute(_FILL_REVOKED.format(count=LINES))
        await owner.execute("vacuum analyze")
    finally:
        await owner.close()


def starts(at: Ledger) -> list[Row]:
    """Start-up CPU of a revocation and of --help: the median of ten, by turns, after one that compiles."""
    serial = serial_of(1).hex()
    words = {
        "start-up CPU of `revoke`": (0.15, ("revoke", "--serial", serial, "--issuer", "root")),
        "start-up CPU of `revoke --help`": (0.12, ("revoke", "--help")),
        "start-up CPU of `crl generate --help`": (0.12, ("crl", "generate", "--help")),
        "start-up CPU of `ca issue --help`": (0.12, ("ca", "issue", "--help")),
        "start-up CPU of `status --help`": (0.12, ("status", "--help")),
    }
    used = [[at.run(*command).cpu_s for _, command in words.values()] for _ in range(STARTS + 1)][1:]
    medians = map(statistics.median, zip(*used, strict=True))
    return shown(
        [Row(name, "s", goal, median) for (name, (goal, _)), median in zip(words.items(), medians, strict=True)]
    )
