"""Turns of `load.c` against several servers, each in its turn, in two regimes: two cores, and one core for both ends.

On two cores the server is alone on core 0 and the generator on core 1, as far as the machine's neighbours allow. On one
core both take turns under SCHED_BATCH, so neither wakes the other's core: that is quiet to a few per cent on a busy
machine. The CPU time of the server's processes is what counts, kernel included, in both.
"""

import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.machine import cpu_s

CONNECTIONS = 16


@dataclass(frozen=True)
class Regime:
    """Where the generator runs, beside a server on core 0, and whether both are scheduled as batch work."""

    name: str
    generator_core: int
    batch: bool

    def place(self, pid: int) -> None:
        """Put every thread of that server where this regime wants it."""
        policy = os.SCHED_BATCH if self.batch else os.SCHED_OTHER
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {0})
            os.sched_setscheduler(int(task.name), policy, os.sched_param(0))

    @property
    def before_generator(self) -> list[str]:
        """Return the words that start the generator in its place."""
        policy = ["chrt", "-b", "0"] if self.batch else []
        return [*policy, "taskset", "-c", str(self.generator_core)]


REGIMES = (Regime("two cores", 1, batch=False), Regime("same core", 0, batch=True))


@dataclass(frozen=True)
class Case:
    """Something to drive: requests to a port, answered by these processes."""

    name: str
    pids: tuple[int, ...]
    port: int
    messages: str
    closing: bool


@dataclass(frozen=True)
class Turn:
    """CPU microseconds per answer, answers per second, and the 99th percentile of the answer times in microseconds."""

    us: float
    rate: float
    p99_us: int


#: The turns of each case, in order; the n-th turns of all cases were neighbours.
Turns = dict[str, list[Turn]]


def drive(case: Case, load: str, seconds: float, regime: Regime) -> Turn:
    """Return one turn; the program ends when an answer was not the one expected."""
    for pid in case.pids:
        regime.place(pid)
    before = sum(map(cpu_s, case.pids))
    words = [str(case.port), case.messages, str(CONNECTIONS), str(seconds), str(int(case.closing))]
    said = subprocess.run([*regime.before_generator, load, *words], capture_output=True, text=True, check=True).stdout
    spent = sum(map(cpu_s, case.pids)) - before
    answered, failed, _, p99 = (int(word) for word in said.split()[:4])
    if failed or not answered:
        sys.exit(f"{case.name}: {failed} of {answered} failed")
    return Turn(spent * 1e6 / answered, answered / seconds, p99)


def take_turns(cases: list[Case], load: str, rounds: int, seconds: float) -> dict[str, Turns]:
    """Return the turns by regime, every case once a round in each: what disturbs one disturbs its neighbours."""
    turns: dict[str, Turns] = {regime.name: {case.name: [] for case in cases} for regime in REGIMES}
    for number in range(rounds):
        for regime in REGIMES:
            for case in cases:
                turns[regime.name][case.name].append(drive(case, load, seconds, regime))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return turns


def summary(turns: list[Turn]) -> dict[str, float]:
    """Return medians, and the range of the cost."""
    costs = sorted(turn.us for turn in turns)
    return {
        "us_per_answer": round(statistics.median(costs), 2),
        "lowest": round(costs[0], 2),
        "highest": round(costs[-1], 2),
        "p99_us": round(statistics.median(turn.p99_us for turn in turns)),
        "answers_per_s": round(statistics.median(turn.rate for turn in turns)),
    }


def ratio_of(turns: Turns, name: str, over: str) -> float:
    """Return the median of the rounds' ratios of the cost: neighbours share what the machine did to them."""
    pairs = zip(turns[name], turns[over], strict=True)
    return round(statistics.median(mine.us / theirs.us for mine, theirs in pairs), 2)
