"""What a fault is: injected, proved from outside to have taken hold, healed. Nothing here judges answers."""

import abc
import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import psutil

from responder.feed.poll import POLL_TIMEOUT_S
from tests.faults.history import CHANGES, GOODS, Excused
from tests.faults.world import HORIZON_S, POLL_S, World, until

#: The last lease began with a question before the injection: by a poll's time-out and a pause at most.
BEYOND_H = HORIZON_S - POLL_TIMEOUT_S - POLL_S
WORDS, SHOWN = {"T": "stopped", "Z": "ended", "gone": "gone"}, 4


def cut_off(host: str) -> tuple[Excused, ...]:
    """What a host without word of the ledger does not owe. Its edge and its signer may have heard of a change, one
    without the other, when it began: they then contradict each other, which is no answer.
    """
    changes = Excused(host, frozenset({CHANGES}), why="edge and signer may have heard differently of a change")
    no_lease = Excused(host, frozenset({GOODS}), BEYOND_H, "the lease has run out")
    return (changes, no_lease)


class NotTaken(AssertionError):
    """The fault did not take hold: the episode says nothing."""


class Fault(abc.ABC):
    """`target` keeps two of a kind from being paired; `hold_s` is how long it stays; `stretch` lets it stay longer. Of
    two the lower `turn` is injected first and healed last: some need what others break.
    """

    name = ""
    target = ""
    turn = 2
    hold_s = 1.0
    stretch = False
    excused: tuple[Excused, ...] = ()

    def __init__(self, world: World) -> None:
        self.world = world

    @abc.abstractmethod
    async def inject(self) -> None:
        """Do it."""

    @abc.abstractmethod
    async def prove(self) -> str:
        """What shows that it took hold; NotTaken."""

    async def heal(self) -> None:  # noqa: B027 - some are over by themselves
        """Undo it, and wait until what was broken is there again."""

    def excuses(self) -> list[Excused]:
        """Asked after the injection."""
        return list(self.excused)


def require(condition: object, what: str) -> str:
    """`what`, when it is so."""
    if not condition:
        raise NotTaken(f"not so: {what}")
    return what


def letter(pid: int) -> str:
    """The state of a process, as in /proc: R S D T Z, or `gone`."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def letters(pids: Sequence[int]) -> str:
    """Of several: `4 stopped (7, 8, 9 ...)`."""
    by_letter: dict[str, list[str]] = {}
    for pid in pids:
        by_letter.setdefault(WORDS.get(letter(pid), letter(pid)), []).append(str(pid))
    return ", ".join(
        f"{len(some)} {word} ({', '.join(some[:SHOWN])}{' ...' if len(some) > SHOWN else ''})"
        for word, some in by_letter.items()
    )


class Stop(Fault):
    """SIGSTOP of processes, SIGCONT after."""

    stopped: Sequence[int] = ()

    @abc.abstractmethod
    def pids(self) -> list[int]:
        """Whose; asked at the injection."""

    async def inject(self) -> None:
        self.stopped = self.pids()
        for pid in self.stopped:
            os.kill(pid, signal.SIGSTOP)

    async def prove(self) -> str:
        await until(lambda: {letter(pid) for pid in self.stopped} <= {"T", "Z", "gone"}, 2, "not stopped")
        require(any(letter(pid) == "T" for pid in self.stopped), f"one is stopped: {letters(self.stopped)}")
        return f"/proc: {letters(self.stopped)}"

    async def heal(self) -> None:
        for pid in self.stopped:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0)


class Kill(Fault):
    """SIGKILL of one process; somebody starts another."""

    killed = 0

    @abc.abstractmethod
    def pid(self) -> int:
        """Whose; 0 while there is none."""

    async def inject(self) -> None:
        self.killed = self.pid()
        require(self.killed, f"{self.name}: there is one to kill")
        os.kill(self.killed, signal.SIGKILL)

    async def prove(self) -> str:
        await until(lambda: letter(self.killed) in ("gone", "Z"), 2, f"{self.killed} lives")
        return f"/proc: {letters([self.killed])}"

    async def heal(self) -> None:
        await until(lambda: self.pid() not in (0, self.killed), 30, f"{self.name}: nobody started another")
