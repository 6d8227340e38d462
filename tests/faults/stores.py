"""Faults of Redis, Postgres, the disk of a journal and the wall clock."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

from tests.faults.fault import BEYOND_H, Fault, Kill, Stop, cut_off, require
from tests.faults.history import CHANGES, GOODS, Excused
from tests.faults.world import HORIZON_S, until
from tests.support.breakage import family, pid_of
from tests.support.rungs import revoke_strangers

CLOCK_S = 90


class KillRedis(Kill):
    """It comes back empty."""

    name, target = "kill -9 Redis, empty restart", "redis"

    def pid(self) -> int:
        return pid_of(self.world.centre, "redis")


class StopRedis(Stop):
    """Connections stay open and nothing comes."""

    name, target, hold_s, stretch = "SIGSTOP Redis", "redis", 2.0, True

    def pids(self) -> list[int]:
        return [pid_of(self.world.centre, "redis")]


class RollBackRedis(Fault):
    """Every record from before the first revocation is written back, as a failover to an old copy would."""

    name, target, hold_s = "Redis rolled back", "redis", 1.5

    async def inject(self) -> None:
        self.changed = await asyncio.to_thread(self._write_back)

    def _write_back(self) -> int:
        old = self.world.old_records
        with self.world.redis() as client:
            now: Any = client.mget(list(old))
            client.mset(dict(old))
        return sum(octets != before for octets, before in zip(now, old.values(), strict=True))

    async def prove(self) -> str:
        return require(self.changed >= 20, f"{self.changed} of {len(self.world.old_records)} records were newer")


#: However it came to be away: after H nobody has a lease.
AWAY = (Excused(None, frozenset({GOODS, CHANGES}), BEYOND_H, "no lease without Postgres"),)


class KillBackend(Kill):
    """The postmaster ends every other backend and recovers."""

    excused = AWAY

    name, target, hold_s, turn = "kill -9 a Postgres backend", "postgres", 0.5, 3

    def pid(self) -> int:
        return self.world.hosts["north"].links["edge"].poller() or self.world.hosts["south"].links["edge"].poller()

    async def heal(self) -> None:
        await until_postgres(self)


class KillPostmaster(Kill):
    """The supervisor starts another, which recovers."""

    excused = AWAY

    name, target, hold_s, turn = "kill -9 the postmaster", "postgres", 0.5, 3

    def pid(self) -> int:
        return pid_of(self.world.centre, "postgres")

    async def heal(self) -> None:
        await super().heal()
        await until_postgres(self)


class StopPostgres(Stop):
    """Good and revoked go on."""

    excused = AWAY
    name, target, hold_s, turn = "Postgres stopped, shorter than H", "postgres", HORIZON_S / 2, 3

    def pids(self) -> list[int]:
        return family(pid_of(self.world.centre, "postgres"))


class StopPostgresLong(StopPostgres):
    """Revoked goes on."""

    name, hold_s, stretch = "Postgres stopped, longer than H", HORIZON_S + 0.5, True


class StopBackend(Stop):
    """The one that answers an edge's polls: the edge gives it up and asks another."""

    name, target, hold_s, turn = "SIGSTOP the backend of an edge's polls", "postgres", 1.8, 3
    excused = (
        Excused(None, frozenset({CHANGES}), why="that edge hears of a change later than its signer"),
        Excused(None, frozenset({GOODS}), BEYOND_H, "the backend has that edge's lease row, if it was in a poll"),
    )

    def pids(self) -> list[int]:
        pollers = [self.world.hosts[name].links["edge"].poller() for name in ("south", "north")]
        return [pid for pid in pollers if pid][:1]


class FullDisk(Fault):
    """What cannot be written is not acknowledged, so the lease is not renewed."""

    name, target, hold_s, turn = "disk full at the journal of north", "journal", HORIZON_S + 0.5, 0
    filler: Path | None = None
    excused = cut_off("north")

    async def inject(self) -> None:
        require(self.world.small_disks, "a file system of our own")
        self.filler = self.world.hosts["north"].journal / "filler"
        with self.filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 512)
        await revoke_strangers(self.world.centre, 300)

    async def prove(self) -> str:
        log = self.world.hosts["north"].folder / "edge.log"
        begun = log.stat().st_size
        await until(lambda: b"No space left" in log.read_bytes()[begun:], 5, "the journal was written")
        return f"{os.statvfs(self.world.hosts['north'].journal).f_bavail} blocks free; edge.log: No space left"

    async def heal(self) -> None:
        if self.filler is not None:
            self.filler.unlink(missing_ok=True)


class ClockJump(Fault):
    """The wall clock of a host jumps by more than a lease allows; nobody is called good there until it is right."""

    name, target, hold_s, turn = f"wall clock of south {CLOCK_S} s ahead", "clock", 1.5, 1
    seconds = CLOCK_S
    excused = (Excused("south", frozenset({GOODS}), why="its clock is wrong: nobody is called good"),)

    async def inject(self) -> None:
        self.world.hosts["south"].wall_clock.set(self.seconds)

    async def prove(self) -> str:
        await until(lambda: self.world.states()["south"] != "LIVE", 3, "south still trusts its clock")
        return f"turned by {self.seconds:+d} s; state {self.world.states()['south']}"

    async def heal(self) -> None:
        self.world.hosts["south"].wall_clock.set(0)


class ClockBack(ClockJump):
    """The other way: such a host cannot state a revocation that is newer than its clock, nor use a record that is."""

    name, seconds = f"wall clock of south {CLOCK_S} s behind", -CLOCK_S
    excused = (Excused("south", why="its clock lies before its records and the last revocations"),)


async def until_postgres(fault: Fault) -> None:
    """Until it takes connections again."""
    while True:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await (await fault.world.owner()).close()
            return
        await asyncio.sleep(0.05)


OF_STORES = (
    KillRedis,
    StopRedis,
    RollBackRedis,
    KillBackend,
    KillPostmaster,
    StopPostgres,
    StopPostgresLong,
    StopBackend,
    FullDisk,
    ClockJump,
    ClockBack,
)
