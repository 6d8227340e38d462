"""`make bench-growth`: how the cost of a cached answer grows with records, connections and workers; JSON and a plot.

Records and connections: the connection loop alone in this process on core 0, `load.c` on core 1. Workers: a quickstart
on both cores, generator included, so only CPU per answer means something there, not the rate. Medians of turns.
"""

import argparse
import base64
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _fastocsp.ocsp.record import pack_record
from _fastocsp.wire import codes
from bench.beside import compiled
from bench.compare import edge_get, questions, write_messages
from bench.driving import Stream, turn_of
from bench.machine import cpu_s, pin, stamp
from tests.support.ca import make_authority
from tests.support.edge_loop import ISSUER_NO, Running, question
from tests.support.http import get_octets
from tests.support.instance import Instance

RESULTS, PLOT = Path(__file__).parent / "growth.json", Path(__file__).parents[1] / "docs" / "growth.png"
RECORDS, CONNECTIONS, WORKERS = (1_000, 100_000, 1_000_000, 10_000_000), (1, 10, 100, 1_000, 10_000), (1, 2)
MAX_ASKED = 60_000
Row = dict[str, float]


def cost(stream: Stream, pids: list[int], rounds: int, seconds: float) -> Row:
    """Median of the rounds."""
    rows = []
    for _ in range(rounds):
        before = sum(map(cpu_s, pids))
        turn = turn_of(stream.start(seconds).communicate()[0], seconds)
        if turn.failed:
            raise SystemExit(f"{stream}: {turn.failed} failed")
        rows.append(((sum(map(cpu_s, pids)) - before) * 1e6 / (turn.goodput * seconds), turn.goodput, turn.p99_us))
    us, rate, p99 = (statistics.median(column) for column in zip(*rows, strict=True))
    return {"us_per_answer": round(us, 2), "answers_per_s": round(rate), "p99_us": p99}


def fill(running: Running, folder: Path, count: int) -> str:
    """So many records into the table, and messages that ask for some of them, anywhere."""
    now = int(time.time())
    times = {"this_update": now - 600, "next_update": now + 36_000, "produced_at": now - 600}
    record = running.authority.record(**times)
    packed = pack_record(record._replace(signature=running.authority.sign(running.template.tbs(b"\1", record))))
    step = max(1, count // MAX_ASKED)
    asked: list[bytes] = []
    for number in range(count):
        serial = b"\x01" + os.urandom(15)
        running.table.put(ISSUER_NO, codes.SHA1, serial, packed)
        if number % step == 0 and len(asked) < MAX_ASKED:
            asked.append(serial)
        if number % 1_000_000 == 999_999:
            print(f"{number + 1} of {count} records", file=sys.stderr)
    paths = (base64.b64encode(question(running.authority, serial)).decode() for serial in asked)
    return write_messages(folder / f"{count}.messages", [get_octets("/ocsp/" + path) for path in paths])


def in_process(
    folder: Path, load: str, count: int, connections: tuple[int, ...], given: tuple[int, float]
) -> list[Row]:
    """One table, some numbers of connections."""
    feed = folder / f"feed-{count}-{len(connections)}"
    feed.mkdir()
    with Running(feed, make_authority(), max_connections=16_000, table_bytes=2 << 30, idle_s=60) as running:
        messages = fill(running, folder, count)
        size = {"records": count, "octets_per_record": round(running.table.octets / len(running.table), 1)}
        pin(os.getpid(), 0)
        port = running.address[1]
        rows = [cost(Stream(load, port, messages, n), [os.getpid()], *given) for n in connections]
        assert not running.slow, "not all were hits"
    return [row | size | {"connections": n} for row, n in zip(rows, connections, strict=True)]


def with_workers(folder: Path, load: str, workers: int, given: tuple[int, float]) -> Row:
    """A quickstart, one table for all workers."""
    settings = {"FASTOCSP_OCSP_RATE_LIMIT_PER_IP_MIN": "1000000000", "FASTOCSP_OCSP_RESPONSE_VALIDITY": "24h"}
    instance = Instance(folder / f"workers-{workers}", workers, 1000, 10, **settings).start()
    try:
        messages = write_messages(folder / "workers", [edge_get(der) for der in questions(instance)])
        stream = Stream(load, instance.port, messages, 64)
        stream.start(1).communicate()
        return cost(stream, instance.facts["pids"]["edge"], *given) | {"workers": workers}
    finally:
        instance.stop()


def plot(figures: dict[str, list[Row]]) -> None:
    """Three panels, CPU microseconds over each quantity."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(10, 3.2), sharey=True)
    for panel, (name, rows) in zip(panels, figures.items(), strict=True):
        panel.plot([row[name] for row in rows], [row["us_per_answer"] for row in rows], "o-", color="#1f4e79")
        if name == "workers":
            panel.set_xticks(WORKERS)
        else:
            panel.set_xscale("log")
        panel.set_xlabel(name)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("CPU us per cached answer")
    panels[0].set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110, metadata={"Software": None})


def main() -> None:
    """Measure, print, write growth.json and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one turn")
    parsed = parser.parse_args()
    everywhere = os.sched_getaffinity(0)
    folder, given = Path(tempfile.mkdtemp(prefix="fastocsp-growth-")), (parsed.rounds, parsed.seconds)
    folder.chmod(0o755)
    try:
        load = compiled(folder, "load")
        workers = [with_workers(folder, load, workers, given) for workers in WORKERS]
        connections = in_process(folder, load, RECORDS[0], CONNECTIONS, given)
        records = [in_process(folder, load, count, (16,), given)[0] for count in RECORDS]
    finally:
        os.sched_setaffinity(0, everywhere)
        shutil.rmtree(folder, ignore_errors=True)
    figures = {"records": records, "connections": connections, "workers": workers}
    RESULTS.write_text(json.dumps({**stamp(), "figures": figures}, indent=1) + "\n")
    print(RESULTS.read_text())
    plot(figures)


if __name__ == "__main__":
    main()
