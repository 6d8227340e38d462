"""`make bench-overload`: twice the capacity, and ten times the nonce lane's, beside answers from the table.

One edge worker on core 0; signer (stepping back, as an operator would have it) and generators on core 1: a machine of
two cores has no third. A thousand clients with a connection each ask in a closed loop and, one after the other, at
several rates; the most that they got is the capacity. Then they ask at twice that, and an arrival that finds no
connection idle is lost. The best of 16, 64 and 256 connections stands beside it: fewer cost less an answer, overloaded
or not. Turns that are compared follow each other; medians over the rounds.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from bench.beside import compiled
from bench.compare import CLOSE, edge_get, questions, write_messages
from bench.driving import Spent, Stream, Turn, drive
from bench.machine import pin, stamp
from tests.support.http import certificate, post_octets, question
from tests.support.instance import Instance

RESULTS = Path(__file__).parent / "overload.json"
ANSWERS, CLIENTS, FLOOD_CONNECTIONS = 1000, 1000, 1000
#: Of what the clients get in a closed loop: at the best of these rates nothing is lost yet, or little.
OFFERED = (0.8, 0.9, 1.0, 1.1)
SIGNER_NICE, FLOOD_NICE, ASKER_AHEAD = 19, 10, 10
SETTINGS = {"OCSP_RATE_LIMIT_PER_IP_MIN": "1000000000", "OCSP_RESPONSE_VALIDITY": "24h", "MAX_CONNECTIONS": "16000"}


class Bench:
    """A quickstart, its processes on their cores, and messages to send."""

    def __init__(self, instance: Instance, folder: Path, seconds: float) -> None:
        self.instance, self.seconds, self.load = instance, seconds, compiled(folder, "load")
        pids = instance.facts["pids"]
        self.edge, self.signer = pids["edge"][0], pids["signer"]
        pin(self.edge, 0)
        pin(self.signer, 1)
        stand_back(self.signer, SIGNER_NICE)
        asked = questions(self.instance)
        self.hits = write_messages(folder / "hits", [edge_get(der) for der in asked])
        self.closing = write_messages(folder / "closing", [edge_get(der, CLOSE) for der in asked])
        self.nonces = write_messages(folder / "nonces", self._nonces())
        self.drive(self.stream(self.hits, 16))

    def _nonces(self) -> list[bytes]:
        issuer = certificate(self.instance.facts["issuer_cert"])
        paths = sorted(Path(self.instance.facts["certs_dir"]).glob("*.pem"))[:200]
        ders = [question(certificate(path), issuer, nonce=os.urandom(32)) for path in paths]
        return [post_octets(der, "/.well-known/pki/ocsp/demo") for der in ders]

    def stream(self, messages: str, connections: int, rate: float = 0.0, nice: int = 0) -> Stream:
        """Of these messages."""
        return Stream(self.load, self.instance.port, messages, connections, rate, messages == self.closing, nice)

    def drive(self, *streams: Stream) -> tuple[list[Turn], Spent]:
        """One turn."""
        return drive(list(streams), self.seconds, self.edge, self.signer)

    def one(self, *streams: Stream) -> Turn:
        """What the first stream got."""
        return self.drive(*streams)[0][0]


def stand_back(pid: int, nice: int) -> None:
    """Let every thread of that process come after others; by its session too, where the kernel groups by sessions."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), nice)
    with contextlib.suppress(FileNotFoundError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def twice(bench: Bench, messages: str, rounds: int) -> dict[str, object]:
    """The same clients at several rates, the best of which is the capacity, and at twice that; fewer beside them."""
    found = []
    for _ in range(rounds):
        fewer = max((bench.one(bench.stream(messages, n)) for n in (16, 64, 256)), key=lambda turn: turn.goodput)
        closed = bench.one(bench.stream(messages, CLIENTS))
        offered = [bench.one(bench.stream(messages, CLIENTS, share * closed.goodput)) for share in OFFERED]
        capacity = max(closed, *offered, key=lambda turn: turn.goodput)
        (over,), spent = bench.drive(bench.stream(messages, CLIENTS, 2 * capacity.goodput))
        found.append((fewer, capacity, over, spent))
    return {
        "fewer connections": median_of([row[0] for row in found]),
        "capacity": median_of([row[1] for row in found]),
        "at twice": median_of([row[2] for row in found]),
        "goodput ratio": median(over.goodput / capacity.goodput for _, capacity, over, _ in found),
        "goodput ratio, over fewer connections": median(over.goodput / fewer.goodput for fewer, _, over, _ in found),
        "edge's share of its core": median(spent.loop + spent.python for _, _, _, spent in found),
    }


def nonces(bench: Bench, rounds: int) -> dict[str, object]:
    """The lane's capacity alone, with what it costs."""
    found = [bench.drive(bench.stream(bench.nonces, 64)) for _ in range(rounds)]
    answers = [(turns[0].goodput, spent) for turns, spent in found]
    return {
        "lane": median_of([turns[0] for turns, _ in found]),
        "edge us per answer": median((spent.loop + spent.python) * 1e6 / rate for rate, spent in answers),
        "signer us per answer": median(spent.signer * 1e6 / rate for rate, spent in answers),
    }


def flood(bench: Bench, capacity: float, lane: float, share: float, rounds: int) -> dict[str, object]:
    """Cached answers, a share of the capacity or (0) as many as go, alone and beside ten times the lane.

    Who asks for them comes before flood and signer on the core that they share: what those take from it is not what
    the edge takes.
    """
    found = []
    for _ in range(rounds):
        cached = bench.stream(bench.hits, 16 if share == 0 else 256, capacity * share, -ASKER_AHEAD)
        (alone,), idle = bench.drive(cached)
        (beside, flooding), busy = bench.drive(
            cached, bench.stream(bench.nonces, FLOOD_CONNECTIONS, 10 * lane, FLOOD_NICE)
        )
        found.append((alone, beside, flooding, idle, busy))
    return {
        "alone": median_of([row[0] for row in found]),
        "beside": median_of([row[1] for row in found]),
        "flood": median_of([row[2] for row in found]),
        "loss of rate": median(1 - row[1].goodput / row[0].goodput for row in found),
        "answers for a second of the edge's CPU, loss": median(
            1 - per_cpu_s(row[1], row[4]) / per_cpu_s(row[0], row[3]) for row in found
        ),
        "loop us per request, alone": median(row[3].loop * 1e6 / row[0].goodput for row in found),
        "loop us per request, beside": median(
            row[4].loop * 1e6 / (row[1].goodput + row[2].goodput + row[2].later) for row in found
        ),
        "Python's share of the edge's core": median(row[4].python for row in found),
        "loop's share of the edge's core": median(row[4].loop for row in found),
    }


def per_cpu_s(turn: Turn, spent: Spent) -> float:
    """Cached answers for each second on a core, whatever else the edge did in it."""
    return turn.goodput / (spent.loop + spent.python)


def median(values: Iterable[float]) -> float:
    """Of numbers, to three digits behind the point."""
    return round(statistics.median(values), 3)


def median_of(turns: list[Turn]) -> dict[str, float]:
    """Each figure's median."""
    return {name: median(asdict(turn)[name] for turn in turns) for name in asdict(turns[0])}


def measure(folder: Path, rounds: int, seconds: float) -> dict[str, object]:
    """Everything, as it is written."""
    settings = {f"FASTOCSP_{name}": value for name, value in SETTINGS.items()}
    instance = Instance(folder / "data", 1, ANSWERS, 10, **settings).start()
    try:
        bench = Bench(instance, folder, seconds)
        alive, closing = twice(bench, bench.hits, rounds), twice(bench, bench.closing, rounds)
        lane = nonces(bench, rounds)
        capacity = alive["fewer connections"]["goodput"]  # type: ignore[index]
        width = lane["lane"]["goodput"]  # type: ignore[index]
        return {
            "keep-alive": alive,
            "one a connection": closing,
            "nonces": lane,
            "cached at a quarter beside ten times the lane": flood(bench, capacity, width, 0.25, rounds),
            "cached at capacity beside ten times the lane": flood(bench, capacity, width, 0, rounds),
        }
    finally:
        instance.stop()


def main() -> None:
    """Measure, print, write overload.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one turn")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-overload-"))
    folder.chmod(0o755)
    try:
        figures = measure(folder, given.rounds, given.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    written = json.dumps({**stamp(), "figures": figures}, indent=1)
    print(written)
    if not given.dry:
        RESULTS.write_text(written + "\n")


if __name__ == "__main__":
    main()
