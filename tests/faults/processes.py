"""Faults of our own processes: kill -9 and SIGSTOP of worker, agent, whole host, signer, warmer."""

import psutil

from tests.faults.fault import Kill, Stop, cut_off
from tests.faults.history import CHANGES, NONCES, Excused
from tests.faults.world import HORIZON_S, is_ready, until
from tests.support.breakage import pid_of

#: A nonce, and what changed and is not yet in Redis.
UNSIGNED = frozenset({NONCES, CHANGES})


class KillWorker(Kill):
    """The other worker goes on, the master starts another; clients connect again."""

    name, target = "kill -9 a worker of north", "worker"

    def pid(self) -> int:
        known = self.world.workers("north")
        return next((pid for pid in known if pid not in getattr(self, "others", [])), 0)

    async def inject(self) -> None:
        self.others: list[int] = []
        workers = self.world.workers("north")
        self.others = workers[1:]
        await super().inject()

    async def prove(self) -> str:
        proof = await super().prove()
        await until(lambda: self.pid() not in (0, self.killed), 10, "no new worker")
        return f"{proof}; the master started {self.pid()}"


class KillMaster(Kill):
    """Its workers die with it; the supervisor starts all of them."""

    name, target, hold_s = "kill -9 the agent of centre", "centre", 0.5
    excused = (Excused("centre", why="the host has no process"),)

    def pid(self) -> int:
        return int(self.world.centre.facts["pids"]["edge_master"] or 0)

    async def heal(self) -> None:
        await super().heal()
        await until(lambda: is_ready(self.world.doors["centre"]), 20, "centre is not ready")


class KillWarmer(Kill):
    """No status depends on it."""

    name, target = "kill -9 the warmer", "warmer"

    def pid(self) -> int:
        return pid_of(self.world.centre, "warmer")


class KillSigner(Kill):
    """What is signed is answered."""

    name, target = "kill -9 the signer of centre", "signer"
    excused = (Excused("centre", UNSIGNED, why="nobody signs there"),)

    def pid(self) -> int:
        return pid_of(self.world.centre, "signer")


class StopWorker(Stop):
    """The kernel goes on giving it connections."""

    name, target, hold_s = "SIGSTOP a worker of north", "worker", 1.5

    def pids(self) -> list[int]:
        return self.world.workers("north")[:1]

    def excuses(self) -> list[Excused]:
        others = frozenset(self.world.workers("north")) - set(self.stopped)
        return [Excused("north", but_workers=others, why="the worker is stopped")]


class StopAgent(Stop):
    """For less than the horizon: nobody notices."""

    name, target, hold_s = "SIGSTOP the agent of south, shorter than H", "agent", 1.5
    excused = cut_off("south")

    def pids(self) -> list[int]:
        return [self.world.hosts["south"].master]


class StopAgentLong(StopAgent):
    """The workers close by themselves."""

    name, hold_s, stretch = "SIGSTOP the agent of south, longer than H", HORIZON_S + 0.5, True
    excused = cut_off("south")


class StopHost(Stop):
    """Master, workers and signer, as a machine that was suspended."""

    name, target, hold_s, stretch = "SIGSTOP the whole host north, longer than H", "worker", HORIZON_S + 0.5, True
    excused = (Excused("north", why="the host is stopped"),)

    def pids(self) -> list[int]:
        return list(self.world.hosts["north"].tree())


class StopSigner(Stop):
    """What is in a table or in Redis is answered."""

    name, target, hold_s = "SIGSTOP the signer of south", "signer", 2.5
    excused = (Excused("south", UNSIGNED, why="nobody signs there"),)

    def pids(self) -> list[int]:
        return [self.world.hosts["south"].signer]


class StopWarmer(Stop):
    """Old records stay in Redis and in the tables; the gate stops them."""

    name, target, hold_s, stretch = "SIGSTOP the warmer", "warmer", 2.5, True

    def pids(self) -> list[int]:
        return [pid_of(self.world.centre, "warmer")]

    async def prove(self) -> str:
        proof = await super().prove()
        cpu = psutil.Process(self.stopped[0]).cpu_times()
        return f"{proof}; {cpu.user:.2f} s of processor so far"


OF_PROCESSES = (
    KillWorker,
    KillMaster,
    KillWarmer,
    KillSigner,
    StopWorker,
    StopAgent,
    StopAgentLong,
    StopHost,
    StopSigner,
    StopWarmer,
)
