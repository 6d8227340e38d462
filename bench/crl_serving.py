"""`make bench-crl-serving`: how long cached OCSP answers take while a hundred clients pull a CRL of 40 MB.

One quickstart with two workers; the CRL has a million entries. The pullers read as fast as they can in processes of
their own, each client one download after the other; one asker on a keep-alive connection notes every answer's time,
first alone, then beside them. Beside each time stands how much of it asker and connection loops waited for a core, as
the kernel counts it: what is left is what the responder itself took, whatever else the machine does.
"""

import asyncio
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from cachewarm.embedded.postgres import LOGINS
from tests.support.breakage import eventually, octets_of
from tests.support.http import Talk, get_octets
from tests.support.instance import Instance

ENTRIES = int(os.environ.get("BENCH_ENTRIES", "1000000"))
CLIENTS = int(os.environ.get("BENCH_CLIENTS", "100"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
RESULTS = Path(__file__).parent / "crl_serving.json"
PATH = "/.well-known/pki/crl/demo"
_FILL = f"""
alter table certificate_revocations disable trigger user;
insert into certificate_revocations (issuer_id, serial_number, revoked_at, reason, revoked_by)
  select 'demo', '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), now() - interval '1 day', 1, 'bench'
    from generate_series(1, {ENTRIES}) n;
alter table certificate_revocations enable trigger user;
"""


async def fill(url: str) -> None:
    """As the owner, without an event each: the feed is not what is measured."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_FILL)
    finally:
        await connection.close()


def queue_files(instance: Instance) -> list[Path]:
    """Where the kernel says how long this thread and every connection loop of the instance waited for a core."""
    files = [Path("/proc/thread-self/schedstat")]
    for pid in instance.facts["pids"]["edge"]:
        others = (task for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid))
        files += [task / "schedstat" for task in others]
    return files


def waited_ms(files: list[Path]) -> float:
    """All of them together, until now."""
    return sum(int(file.read_text().split()[1]) for file in files) / 1e6


def latencies(instance: Instance, seconds: float) -> list[tuple[float, float]]:
    """(milliseconds, those of them in which nobody waited for a core) of every cached answer, first misses left out."""
    octets, took = octets_of(instance, instance.facts["good_cert"]), []
    for _ in range(32):  # every worker has it in its table
        with Talk(instance.port) as talk:
            talk.ask(octets)
    files = queue_files(instance)
    until = time.monotonic() + seconds
    with Talk(instance.port) as talk:
        before = waited_ms(files)
        while time.monotonic() < until:
            begun = time.perf_counter()
            talk.ask(octets)
            ms = (time.perf_counter() - begun) * 1000
            after = waited_ms(files)
            took.append((ms, max(0.0, ms - (after - before))))
            before = after
    return took


def pull(port: int, clients: int, pulled: "multiprocessing.sharedctypes.Synchronized[int]") -> None:
    """For ever: what is read is only counted."""

    async def one() -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            writer.write(get_octets(PATH, "Connection: close\r\n"))
            while part := await reader.read(1 << 20):
                pulled.value += len(part)
            writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(clients)))

    asyncio.run(all_of_them())


def figures(took: list[tuple[float, float]]) -> dict[str, float]:
    """Of all answers; `own` without the waiting for a core."""
    whole, own = (sorted(column) for column in zip(*took, strict=True))
    at_99 = int(len(took) * 0.99)
    return {
        "answers": len(took),
        "p50_ms": round(whole[len(whole) // 2], 3),
        "p99_ms": round(whole[at_99], 3),
        "max_ms": round(whole[-1], 3),
        "own_p99_ms": round(own[at_99], 3),
        "own_max_ms": round(own[-1], 3),
    }


def crl_octets(instance: Instance) -> int:
    """Length of the CRL that is served."""
    with Talk(instance.port) as talk:
        return int(talk.ask(get_octets(PATH).replace(b"GET", b"HEAD", 1), head_only=True)[1]["content-length"])


def measure(instance: Instance) -> dict[str, object]:
    """Alone, then beside the pullers."""
    facts = instance.facts
    passwords = json.loads((instance.folder / "postgres.passwords").read_text())
    asyncio.run(fill(f"postgresql://{LOGINS['owner']}:{passwords['owner']}@{facts['database_url'].rpartition('@')[2]}"))
    instance.command("crl", "generate", "demo", "--force")
    eventually(lambda: crl_octets(instance) > 40 * ENTRIES, 60, "the edge has not got it", pause_s=0.5)
    found: dict[str, object] = {"crl_octets": crl_octets(instance), "clients": CLIENTS}
    found["alone"] = figures(latencies(instance, SECONDS))
    pulled = multiprocessing.Value("q", 0, lock=False)
    pullers = [
        multiprocessing.Process(target=pull, args=(instance.port, CLIENTS // 2, pulled), daemon=True) for _ in range(2)
    ]
    for puller in pullers:
        puller.start()
    try:
        time.sleep(2)
        before, begun = pulled.value, time.monotonic()
        found["beside"] = figures(latencies(instance, SECONDS))
        found["pulled_mb_per_s"] = round((pulled.value - before) / (time.monotonic() - begun) / 1e6)
    finally:
        for puller in pullers:
            puller.kill()
    return found


def main() -> None:
    """Measure, print, write crl_serving.json."""
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-bench-"))
    folder.chmod(0o755)
    instance = Instance(folder / "data", workers=2, certificates=20, revoked=1, FASTOCSP_CRL_DEBOUNCE="10m").start()
    try:
        found = measure(instance)
    finally:
        instance.stop()
        shutil.rmtree(folder, ignore_errors=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
