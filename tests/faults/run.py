"""`python -m tests.faults.run --seed N [--full] --report FOLDER`: one fault after the other, or pairs for an hour.

An episode: inject, prove, revoke, hold, heal, revoke again, watch for the time of recovery and a little longer, judge.
Whatever happens, everything that was started is stopped. Exit 1: a rule was broken, or a fault did not take hold.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg

from cachewarm.errors import CachewarmError
from tests.faults import nemesis, report
from tests.faults.checker import ENOUGH, RECOVERY_S, Checker
from tests.faults.fault import Fault
from tests.faults.final import final
from tests.faults.history import Asked, Change, Episode, Excused, Violation
from tests.faults.hosts import ROOT
from tests.faults.revoker import Revoker
from tests.faults.world import HORIZON_S, WORKERS, World

CERTIFICATES, FULL_CERTIFICATES, REVOKED, FRESH = 640, 6000, 140, 60
CONNECTIONS, PAUSE_S = 4, 0.014
TAIL_S, SAMPLE_S, HOUR_S = 0.5, 0.1, 3600.0
FIRST_BULK, BULK = 140, 5
#: A quiet machine of two processors asks 500 to 800 questions a second.
COPES_PER_S, TRIES = 350.0, 3
NOT_TAKEN = "did not take hold"
FAILED = (AssertionError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, CachewarmError)
ENOUGH_ASKED, ENOUGH_WITHIN_S = 1900, 15.0


class Run:
    """One world under one seed; `first_bulk` are revoked at the beginning, one by the command line if `commands`."""

    first_bulk, commands = FIRST_BULK, True

    def __init__(
        self,
        seed: int,
        *,
        lasts_s: float = HOUR_S,
        full: bool = False,
        kinds: list[nemesis.Kind] | None = None,
        world: World | None = None,
    ) -> None:
        self.seed, self.full, self._kinds = seed, full, kinds
        self.random, self.lasts_s = random.Random(seed), lasts_s
        self.world = world or World(FULL_CERTIFICATES if full else CERTIFICATES)
        self.checker = Checker(HORIZON_S)
        self.episodes: list[report.Judged] = []
        self.samples: list[tuple[float, dict[str, str]]] = []
        self.left_out: list[str] = []
        self.final: dict[str, Any] = {}
        self._judged_changes = 0
        self.begun = self.ended = time.monotonic()

    async def go(self) -> "Run":
        """Everything; the world is stopped at the end in any case."""
        try:
            await self.world.start()
            await self._ask()
            sampling = asyncio.get_running_loop().create_task(self._sample())
            try:
                await self.episodes_of_the_run()
                self.final = await final(self.world, self.revoker.changes)
            finally:
                sampling.cancel()
                self.asker.terminate()
                await self.asker.wait()
        finally:
            self.ended = time.monotonic()
            await self.world.stop()
        return self

    async def episodes_of_the_run(self) -> None:
        """No fault, then one fault or pair after the other."""
        kinds, self.left_out = nemesis.possible(self.world)
        kinds = self._kinds or kinds
        order = nemesis.pairs(kinds, self.random) if self.full else nemesis.singles(kinds, self.random)
        await self.calm()
        until = self.begun + self.lasts_s
        for number, chosen in enumerate(order, 1):
            if self.full and time.monotonic() > until:
                break
            await self._often_enough(f"{number}/{len(order)}", chosen)

    async def _often_enough(self, number: str, chosen: tuple[nemesis.Kind, ...]) -> None:
        """Once, and again when the machine was too busy with something else to say anything about availability. What
        is wrong every time is wrong; a lie counts the first time.
        """
        for left in reversed(range(TRIES)):
            await self.episode(chosen)
            last = self.episodes[-1]
            slow = last.rate_per_s < COPES_PER_S and {one.rule for one in last.violations} <= set(report.OF_SPEED)
            last.repeated = bool(left and slow and last.violations)
            say(f"{number} {last.episode.name}: {last.questions} questions, {last.summary}")
            if not last.repeated:
                return

    async def _ask(self) -> None:
        self.revoker = Revoker(self.world)
        self.asker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.load", cwd=ROOT, stdin=-1, stdout=-1, limit=1 << 28
        )
        told = {
            "hosts": {name: [*door, str(self.world.run_folders[name])] for name, door in self.world.doors.items()},
            "issuer": self.world.centre.facts["issuer_cert"],
            "certificates": [str(path) for path in self.world.certificates],
            "connections": CONNECTIONS,
            "workers": WORKERS,
            "pause_s": PAUSE_S,
        }
        await self._tell(told, answer=True)

    async def _tell(self, told: dict[str, Any], *, answer: bool = False) -> Any:
        assert self.asker.stdin is not None
        assert self.asker.stdout is not None
        self.asker.stdin.write(json.dumps(told).encode() + b"\n")
        await self.asker.stdin.drain()
        return json.loads(await self.asker.stdout.readline()) if answer else None

    async def calm(self) -> None:
        """Tables and signers get to know every certificate of the window, then the first are revoked."""
        episode = Episode("no fault", time.monotonic())
        episode.excused = [Excused(why="the signers get to know the certificates")]
        await self._aim()
        episode.healed = time.monotonic()
        await asyncio.sleep(1.5)
        await self.revoker.bulk(self.first_bulk)
        await asyncio.gather(self.revoker.hold_and_release(), *([self.revoker.command()] if self.commands else []))
        await self._aim()
        await asyncio.sleep(1.5)
        await self._judge(episode, [])

    async def episode(self, chosen: tuple[nemesis.Kind, ...]) -> None:
        """One fault, or two at once."""
        faults = sorted((nemesis.make(kind, self.world, self.revoker) for kind in chosen), key=lambda one: one.turn)
        episode = Episode(" + ".join(fault.name for fault in faults), time.monotonic())
        begun: list[Fault] = []
        changing: asyncio.Future[Any] | None = None
        try:
            for fault in faults:
                begun.append(fault)
                await fault.inject()
                episode.excused += fault.excuses()
                injected = time.monotonic()
                if fault is faults[-1]:
                    changing = self._change()
                episode.proofs.append(await fault.prove())
            episode.excused += nemesis.excuses_together(faults)
            await asyncio.sleep(max(0.0, injected + self._hold_s(faults) - time.monotonic()))
        except FAILED as error:
            episode.proofs.append(f"{NOT_TAKEN}: {type(error).__name__} {error}")
        finally:
            for fault in reversed(begun):
                await self._heal(fault, episode)
        episode.healed = time.monotonic()
        await (changing or self._change())
        await self.revoker.single("after")
        await self._aim(again=any(fault.target == "signer" for fault in faults))
        await asyncio.sleep(max(0.0, episode.healed + RECOVERY_S + TAIL_S - time.monotonic()))
        await self._until_enough()
        await self._judge(episode, faults)

    async def _heal(self, fault: Fault, episode: Episode) -> None:
        """What cannot be healed must not keep the next one from being healed."""
        try:
            await fault.heal()
        except FAILED as error:
            episode.proofs.append(f"{NOT_TAKEN}: healing {fault.name}: {type(error).__name__} {error}")

    def _change(self) -> "asyncio.Future[Any]":
        """What is revoked and released while the fault lasts."""
        single, held, bulk = self.revoker.single("during"), self.revoker.hold_and_release(), self.revoker.bulk(BULK)
        return asyncio.gather(single, held, bulk)

    async def _until_enough(self) -> None:
        """A machine that is busy with something else takes longer to ask so much; it asks all the same."""
        deadline = time.monotonic() + ENOUGH_WITHIN_S
        while await self._tell({"count": True}, answer=True) < ENOUGH_ASKED and time.monotonic() < deadline:
            await asyncio.sleep(0.1)

    def _hold_s(self, faults: list[Fault]) -> float:
        held = max(fault.hold_s for fault in faults)
        if self.full and all(fault.stretch for fault in faults) and self.random.random() < 0.1:
            held = self.random.choice(nemesis.LONG_S)
        return held

    async def _aim(self, *, again: bool = False) -> None:
        """Ask for those revoked last and those to be revoked next."""
        serials = [path.stem for path in self.world.certificates]
        taken = self.revoker.taken
        window = serials[max(0, taken - REVOKED) : taken] + serials[taken : taken + FRESH]
        await self._tell({"window": window, "again": again}, answer=True)

    async def _judge(self, episode: Episode, faults: list[Fault]) -> None:
        episode.ended = time.monotonic()
        asked = [Asked(*one) for one in await self._tell({"drain": True}, answer=True)]
        changes: list[Change] = self.revoker.changes[self._judged_changes :]
        self._judged_changes = len(self.revoker.changes)
        violations = self.checker.judge(episode, asked, changes, enough=ENOUGH if faults else 0)
        if wrong := [proof for proof in episode.proofs if proof.startswith(NOT_TAKEN)]:
            violations.append(Violation("proof", "; ".join(wrong), ()))
        violations += [Violation("ended", line, ()) for line in self.world.revive()]
        self.episodes.append(report.Judged.of(episode, asked, self.checker.after, changes, violations))
        for violation in violations:
            say(f"VIOLATION of {violation.rule} under {episode.name}: {violation.what}")
            for line in violation.lines:
                say(f"    {line}")

    async def _sample(self) -> None:
        while True:
            self.samples.append((time.monotonic(), self.world.states()))
            await asyncio.sleep(SAMPLE_S)

    @property
    def violations(self) -> list[Violation]:
        """Of all episodes and of the end."""
        found = [violation for judged in self.episodes for violation in judged.counted]
        return found + [Violation("C3", line, ()) for line in self.final.get("differences", ["not looked at"])]


def say(line: str) -> None:
    """A line of progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="pairs for an hour")
    parser.add_argument("--seconds", type=float, default=HOUR_S, help="with --full: no new pair after so many")
    parser.add_argument("--only", action="append", default=[], help="part of a fault's name; may be repeated")
    parser.add_argument("--report", type=Path, default=ROOT / ".faults")
    given = parser.parse_args()
    kinds = [kind for kind in nemesis.ALL if any(part in kind.name for part in given.only)] or None
    if given.only and kinds is None:
        parser.error(
            f"no fault has {' or '.join(given.only)} in its name: {', '.join(kind.name for kind in nemesis.ALL)}"
        )
    run = asyncio.run(Run(given.seed, full=given.full, lasts_s=given.seconds, kinds=kinds).go())
    page = report.write(run, given.report)
    say(f"{len(run.violations)} violations; report: {page}")
    return 1 if run.violations else 0


if __name__ == "__main__":
    sys.exit(main())
