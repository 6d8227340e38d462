"""Faults of those who write: cut at COMMIT, a revoker stopped inside its transaction, a full NOTIFY queue, two warmers,
a zombie warmer.
"""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress

import asyncpg
import psutil

from cachewarm.errors import CachewarmError
from cachewarm.ledger.feed import feed_position
from cachewarm.revocation.confirmation import Outcome, wait_for_edges
from tests.faults.fault import Fault, NotTaken, letter, require
from tests.faults.history import REVOKE, Change
from tests.faults.hosts import ROOT
from tests.faults.revoker import Revoker
from tests.faults.world import World, until
from tests.support.breakage import pid_of

_FILLER = "x" * 7900


class ByRevoker(Fault):
    """One that revokes by itself."""

    turn = 0

    def __init__(self, world: World, revoker: Revoker | None = None) -> None:
        super().__init__(world)
        self._revoker = revoker

    @property
    def revoker(self) -> Revoker:
        """Given by the runner."""
        assert self._revoker is not None
        return self._revoker


class CutAtCommit(ByRevoker):
    """The revocation is committed, its answer is lost; the revoker tries again and learns the earliest time."""

    name, target, hold_s = "connection cut at COMMIT", "revoker", 0.5

    async def inject(self) -> None:
        link = self.world.ledger_link
        assert link is not None
        link.cutting, before = True, link.cuts
        self.change = await self.revoker.single("cut at COMMIT", url=self.world.cut_url)
        self.cuts = link.cuts - before

    async def prove(self) -> str:
        require(self.cuts == 1 and self.change.tries == 2, f"{self.cuts} cut, {self.change.tries} tries")
        committed = await committed_before(self.world, self.change)
        return f"reply to the commit dropped by the proxy; it stood {committed:.3f} s before the second try's answer"

    async def heal(self) -> None:
        assert self.world.ledger_link is not None
        self.world.ledger_link.heal()


class RevokerStopped(ByRevoker):
    """It holds the feed's lock for a while; others wait, and the order of the feed is the order of the commits."""

    name, target, hold_s = "a revoker stopped inside its transaction", "revoker", 1.2

    async def inject(self) -> None:
        self.path = self.revoker.fresh()
        self.change = Change(REVOKE, self.path.stem, time.monotonic(), "stopped inside its transaction")
        self.revoker.changes.append(self.change)
        self.connection = await self.world.owner()
        self.transaction = self.connection.transaction()
        await self.transaction.start()
        await self.connection.execute(
            "insert into certificate_revocations (issuer_id, serial_number, reason) values ('demo', $1, 1)",
            bytes.fromhex(self.path.stem),
        )

    async def prove(self) -> str:
        other = await self.world.owner()
        try:
            state = await other.fetchval(
                "select state from pg_stat_activity where pid = $1", self.connection.get_server_pid()
            )
        finally:
            await other.close()
        return require(state == "idle in transaction", f"pg_stat_activity: {state}")

    async def heal(self) -> None:
        try:
            await self.transaction.commit()
            self.change.committed = time.monotonic()
            await self._wait(self.change.committed)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, CachewarmError, OSError) as error:
            self.change.outcome = f"lost: {error}"
        finally:
            self.connection.terminate()

    async def _wait(self, committed: float) -> None:
        """As `revoke --wait` does."""
        head = await feed_position(self.connection)

        async def still_so() -> bool:
            return await committed_before(self.world, self.change) > 0

        waited = await wait_for_edges(
            self.connection, head.generation, head.seq, committed=committed, patience_s=None, still_so=still_so
        )
        self.change.outcome = waited.outcome.value
        if waited.outcome is Outcome.CONFIRMED:
            self.change.confirmed = time.monotonic()


class NotifyQueueFull(Fault):
    """Nudges fail; revocations do not, and edges poll."""

    name, target, turn = "NOTIFY queue full", "notify", 0

    async def inject(self) -> None:
        self.listener, filler = await self.world.owner(), await self.world.owner()
        await self.listener.execute("listen faults")
        await self.listener.execute("begin")
        await self.listener.execute("select 1")
        self.sent, self.error = 0, ""
        try:
            while self.sent < 1000:
                await filler.execute(f"select pg_notify('faults', '{_FILLER}{self.sent}')")
                self.sent += 1
        except asyncpg.PostgresError as error:
            self.error = str(error)
        finally:
            await filler.close()

    async def prove(self) -> str:
        return require(self.error, f"after {self.sent} notifications Postgres says: {self.error}")

    async def heal(self) -> None:
        self.listener.terminate()


class TwoWarmers(Fault):
    """Both do the work; nothing is done twice, and nothing old comes back."""

    name, target, hold_s, turn = "two warmers", "warmer", 1.5, 0

    async def inject(self) -> None:
        path = self.world.folder / "second-warmer.log"
        self.begun = path.stat().st_size if path.exists() else 0
        with path.open("ab") as log:
            self.second = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cachewarm.cli.main", "warm"),
                env=self.world.centre.environ,
                cwd=ROOT,
                stderr=log,
            )

    async def prove(self) -> str:
        log = self.world.folder / "second-warmer.log"
        await until(lambda: b'"snapshot"' in log.read_bytes()[self.begun :], 20, "the second warmer does not run")
        return f"warmers {pid_of(self.world.centre, 'warmer')} and {self.second.pid} follow the feed"

    async def heal(self) -> None:
        with suppress(ProcessLookupError):  # a warmer ends by itself when it finds no ledger: its supervisor starts it
            self.second.terminate()
        await asyncio.wait_for(self.second.wait(), 20)


class ZombieWarmer(TwoWarmers):
    """The first is stopped, the second takes over, the first wakes up with what it knew."""

    name = "a zombie warmer"

    async def inject(self) -> None:
        self.zombie = pid_of(self.world.centre, "warmer")
        os.kill(self.zombie, signal.SIGSTOP)
        await super().inject()

    async def prove(self) -> str:
        proof = await super().prove()
        return require(letter(self.zombie) == "T", f"{proof}; {self.zombie} is stopped")

    async def heal(self) -> None:
        """It wakes while the other still works."""
        if psutil.pid_exists(self.zombie):
            os.kill(self.zombie, signal.SIGCONT)
        await asyncio.sleep(0.5)
        await super().heal()


async def committed_before(world: World, change: Change) -> float:
    """Seconds between the row's own time and now; NotTaken when there is no row."""
    connection = await world.owner()
    try:
        age = await connection.fetchval(
            "select extract(epoch from clock_timestamp() - revoked_at)::float8 from certificate_revocations"
            " where serial_number = $1",
            bytes.fromhex(change.serial),
        )
    finally:
        await connection.close()
    if age is None:
        raise NotTaken("the revocation is not in the ledger")
    return float(age)


OF_WRITERS = (CutAtCommit, RevokerStopped, NotifyQueueFull, TwoWarmers, ZombieWarmer)
