"""Turns of `load.c`: what was offered, what came back, and whose CPU it cost."""

import subprocess
import time
from dataclasses import dataclass

from bench.machine import cpu_s, main_thread_s


@dataclass(frozen=True)
class Stream:
    """Something to ask a port for; `rate` 0 is a closed loop. Messages in the file that `load` reads.

    `nice` is added to ours; what is below 0 needs root, and is left out without it.
    """

    load: str
    port: int
    messages: str
    connections: int
    rate: float = 0.0
    closing: bool = False
    nice: int = 0

    def start(self, seconds: float) -> "subprocess.Popen[str]":
        """On core 1."""
        words = [str(self.port), self.messages, str(self.connections), str(seconds), str(int(self.closing))]
        rate = [str(self.rate)] if self.rate else []
        begin = ["nice", "-n", str(self.nice), "taskset", "-c", "1"]
        return subprocess.Popen([*begin, self.load, *words, *rate], stdout=subprocess.PIPE, text=True)


@dataclass(frozen=True)
class Turn:
    """What one stream got: answers a second that were no tryLater, tryLater a second, microseconds, arrivals lost."""

    goodput: float
    later: float
    p50_us: int
    p99_us: int
    lost: float
    failed: int


@dataclass(frozen=True)
class Spent:
    """Shares of a core over one turn."""

    loop: float
    python: float
    signer: float


def drive(streams: list[Stream], seconds: float, edge: int, signer: int) -> tuple[list[Turn], Spent]:
    """All of them at once."""
    before = cpu_s(edge), main_thread_s(edge), cpu_s(signer), time.monotonic()
    running = [stream.start(seconds) for stream in streams]
    turns = [turn_of(process.communicate()[0], seconds) for process in running]
    took = time.monotonic() - before[3]
    python = main_thread_s(edge) - before[1]
    loop = cpu_s(edge) - before[0] - python
    return turns, Spent(loop / took, python / took, (cpu_s(signer) - before[2]) / took)


def turn_of(said: str, seconds: float) -> Turn:
    """Read what `load` prints."""
    answered, failed, p50, p99, _, later, lost = (int(word) for word in said.split())
    return Turn((answered - later - failed) / seconds, later / seconds, p50, p99, lost / seconds, failed)
