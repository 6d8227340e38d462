"""`make bench-instructions`: how many instructions an answer costs, and where, counted by callgrind.

Unlike microseconds they are the same on a busy machine: what a change saves shows at once. (The authority is new each
time, and a few percent of a GET go with how many characters of its base64 have to be percent-encoded.) Counted is all
that the connection loop does between a `recv` and the `send` that answers it, system calls left out, for hits in a
table of a hundred records, pipelined. It needs valgrind (`apt-get install valgrind`).
"""

import argparse
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

from bench.machine import stamp
from tests.support.ca import make_authority
from tests.support.edge_loop import Running, question, read_answer
from tests.support.http import get_octets, post_octets

RESULTS = Path(__file__).parent / "instructions.json"
ANSWERS, ROUNDS = 100, 20
COUNTED = "__pyx_f_9responder_7hotpath_13http_exchange_8Exchange_work"
METHODS = ("GET", "POST")
_ROW = re.compile(r"^ *([\d,]+) \( ?[\d.]+%\)  ([^:]+):(\S+)")


def ask(method: str) -> None:
    """Inside of valgrind: the same hundred questions again and again."""
    authority, rng = make_authority(), random.Random(1)
    with Running(Path(tempfile.mkdtemp()), authority, table_bytes=64 << 20) as made:
        serials = [b"\x40" + rng.randbytes(15) for _ in range(ANSWERS)]
        for serial in serials:
            made.put(serial)
        asked = [question(authority, serial) for serial in serials]
        paths = ["/ocsp/" + quote(b64encode(der).decode(), safe="") for der in asked]
        octets = b"".join(map(get_octets, paths) if method == "GET" else map(post_octets, asked))
        with made.connect() as client:
            client.settimeout(None)
            left, size = bytearray(), 0
            for number in range(ROUNDS):
                client.sendall(octets)
                if number == 0:
                    size = sum(len(head) + 4 + len(body) for head, body in (read_answer(client, left) for _ in asked))
                elif len(client.recv(size, socket.MSG_WAITALL)) != size:
                    sys.exit("an answer is missing")
        if made.counted("answers:hit") != ANSWERS * ROUNDS:
            sys.exit("not all of them were hits")


def count(method: str) -> dict[str, int]:
    """Instructions of one answer, by function."""
    with tempfile.TemporaryDirectory() as folder:
        counted = Path(folder, "counted")
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counted}", "--collect-atstart=no"]
        words += [f"--toggle-collect={COUNTED}", sys.executable, "-m", "bench.instructions", "--inside", method]
        subprocess.run(words, check=True, capture_output=True)
        said = subprocess.run(
            ["callgrind_annotate", "--threshold=100", "--auto=no", counted], check=True, capture_output=True, text=True
        ).stdout
    rows: dict[str, int] = {}
    for line in said.splitlines():
        if row := _ROW.match(line):
            name = f"{Path(row[2]).stem} {row[3].partition('_pyx_f_')[2] or row[3]}"
            rows[name] = rows.get(name, 0) + int(row[1].replace(",", ""))
    return {name: round(number / (ANSWERS * ROUNDS)) for name, number in rows.items()}


def main() -> None:
    """Count, print, write instructions.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inside", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=20, help="functions that are shown")
    given = parser.parse_args()
    if given.inside:
        ask(given.inside)
        return
    if not shutil.which("valgrind"):
        sys.exit("bench: needs valgrind: apt-get install valgrind")
    counts = {method: count(method) for method in METHODS}
    for method, rows in counts.items():
        print(f"| {method} | instructions of an answer |\n|---|---|\n| all | {sum(rows.values())} |")
        for name, number in sorted(rows.items(), key=lambda row: -row[1])[: given.rows]:
            print(f"| {name} | {number} |")
    totals = {method: sum(rows.values()) for method, rows in counts.items()}
    RESULTS.write_text(json.dumps({**stamp(), "instructions": totals}, indent=1) + "\n")


if __name__ == "__main__":
    main()
