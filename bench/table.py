"""`make bench-table`: the answer table by itself, up to ten million records of P-256 with serials of 16 bytes.

Bytes a record are the table's own count of what it has in memory; the longest put is the pause that growing makes, by
the CPU time of the thread, as the machine does other work. A look-up is `Table.get` from Python, call and result
included, for records drawn from all of them. Two processes that map one table are weighed by their Pss.
"""

import heapq
import json
import os
import random
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from _fastocsp.ocsp.record import pack_record
from _fastocsp.table.memory import make_table_memory
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record
from bench.machine import stamp

RECORDS = tuple(int(each) for each in os.environ.get("BENCH_RECORDS", "10000,1000000,10000000").split(","))
LIMIT, ASKED, AT_ONCE = 2 << 30, 200_000, 1000
RESULTS = Path(__file__).parent / "table.json"
RECORD = pack_record(
    Record(codes.SHA1, codes.GOOD, b"respondr", 10, 2000, 10, signature=encode_dss_signature(2**255, 2**254))
)


def serials(count: int) -> list[bytes]:
    """Of 16 bytes."""
    return [b"\x5e" + os.urandom(15) for _ in range(count)]


def fill(table: Table, count: int) -> tuple[list[bytes], "array[int]"]:
    """So many records; some of their serials, and the nanoseconds of each put."""
    put, clock, kept, took = table.put, time.thread_time_ns, [], array("Q")
    while len(took) < count:
        fresh = serials(min(AT_ONCE, count - len(took)))
        kept += fresh[:: max(1, count // ASKED)]
        for serial in fresh:
            begun = clock()
            put(1, codes.SHA1, serial, RECORD)
            took.append(clock() - begun)
    return kept, took


def look_up_ns(table: Table, asked: Sequence[bytes]) -> float:
    """CPU nanoseconds of one, all of them once, in an order that no cache knows."""
    shuffled = random.sample(asked, len(asked))
    laid_out = [bytes(bytearray(serial)) for serial in shuffled]
    begun = time.process_time_ns()
    for serial in laid_out:
        table.get(1, codes.SHA1, serial)
    return (time.process_time_ns() - begun) / len(laid_out)


def grown(count: int) -> dict[str, float]:
    """One table from nothing to so many."""
    table = Table(LIMIT)
    kept, took = fill(table, count)
    longest = heapq.nlargest(max(1, count // 10_000), took)
    return {
        "records": len(table),
        "octets_a_record": round(table.octets / len(table), 1),
        "put_ns_mean": round(sum(took) / count),
        "put_us_p9999": round(longest[-1] / 1000, 1),
        "put_us_longest": round(longest[0] / 1000, 1),
        "look_up_ns": round(look_up_ns(table, kept)),
    }


def pss_kib(pid: int | str) -> int:
    """Memory of a process, shared pages by its share, what it has of memory files alone."""
    total, ours = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0] and ":" not in line.split(" ", 1)[0]:
            ours = "fastocsp-table" in line
        elif ours and line.startswith("Pss:"):
            total += int(line.split()[1])
    return total


def weighed(count: int) -> dict[str, float]:
    """The table's part of one process, and of two that have both read all of it."""
    fd = make_table_memory(LIMIT)
    table = Table(LIMIT, fd)
    kept, _ = fill(table, count)
    alone = pss_kib("self")
    reader = (
        "import sys; from _fastocsp.table.table import Table; t = Table(int(sys.argv[2]), int(sys.argv[1]));"
        "print(sum(t.get(1, 1, bytes.fromhex(s.strip())) is not None for s in sys.stdin), flush=True);"
        "sys.stdout.close(); import time; time.sleep(600)"
    )
    words = [sys.executable, "-c", reader, str(fd), str(LIMIT)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[fd], text=True, cwd=Path(__file__).parents[1]
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("".join(serial.hex() + "\n" for serial in kept))
        other.stdin.close()
        found = int(other.stdout.readline())
        both = pss_kib("self") + pss_kib(other.pid)
        other.kill()
    os.close(fd)
    return {"records": count, "found_by_the_second": found, "one_process_kib": alone, "two_processes_kib": both}


def main() -> None:
    """Measure, print, keep the figures."""
    figures = {"grown": [grown(count) for count in RECORDS], "weighed": weighed(200_000)}
    RESULTS.write_text(json.dumps({**stamp(), **figures}, indent=1) + "\n")
    sys.stdout.write(RESULTS.read_text())


if __name__ == "__main__":
    main()
