"""The race that the first poll of a life is for: an edge that has no lease yet has read the head, and its row is not
committed.
"""

import asyncio
import contextlib

import asyncpg

from tests.faults.fault import NotTaken, cut_off
from tests.faults.history import Change
from tests.faults.world import HORIZON_S
from tests.faults.writers import ByRevoker

#: Every poll of north stops after its work and before its commit, while somebody holds the row of `stall`.
_STALL = """
create table if not exists stall (one bool primary key);
insert into stall values (true) on conflict do nothing;
create or replace function stalled() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  if new.edge = 'north' then perform from stall for update; end if;
  return null;
end $$;
create or replace trigger stalled after update on edge_lease for each row execute function stalled();
"""


class FirstPollStalled(ByRevoker):
    """An edge without a lease polls: it has read the head, its row is not committed, a revocation is. Who waits for
    that revocation need not wait for it, so its poll must give no lease. Afterwards the edge hears nothing more for a
    horizon.
    """

    name, target, turn = "a first poll stalled before its commit", "link", 1
    hold_s = HORIZON_S + 0.5
    waiter: "asyncio.Task[Change] | None" = None
    excused = cut_off("north")

    async def inject(self) -> None:
        host = self.world.hosts["north"]
        edge, signer = host.links["edge"], host.links["signer"]
        edge.up.hole = edge.down.hole = True
        owner, holder = await self.world.owner(), await self.world.owner()
        try:
            await self._until_lapsed(owner)
            await owner.execute(_STALL)
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute("select from stall for update")
            edge.refusing = True
            edge.reset()
            await self._until_gone(owner)
            edge.heal()
            await self._until_waiting(owner)
            edge.up.hole = signer.up.hole = signer.down.hole = True
            before = await owner.fetchval("select seq from feed_head")
            self.waiter = asyncio.get_running_loop().create_task(self.revoker.single("behind a stalled poll"))
            await self._until_committed(owner, before)
            await transaction.rollback()
        finally:
            holder.terminate()
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                await owner.execute("drop trigger if exists stalled on edge_lease")
            owner.terminate()

    async def _until_lapsed(self, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
        """The warmer has seen that no lease of north stands any more."""
        for _ in range(1000):
            if not await owner.fetchval("select leased from edge_lease where edge = 'north'"):
                return
            await asyncio.sleep(0.05)
        raise NotTaken("the lease of north does not lapse")

    async def _until_committed(self, owner: "asyncpg.Connection[asyncpg.Record]", before: int) -> None:
        """The revocation is in the ledger, and whoever waits has looked once; the poll is given up after a second."""
        for _ in range(60):
            if await owner.fetchval("select seq from feed_head") > before:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    async def _until_gone(self, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
        """No backend of north is left: a poll that the hole kept would be carried out for a connection that is gone."""
        for _ in range(500):
            ended = (
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'fastocsp_edge_north'"
            )
            if not await owner.fetchval(ended):
                return
            await asyncio.sleep(0.02)
        raise NotTaken("north's former connections do not end")

    async def _until_waiting(self, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
        for _ in range(500):
            self.waits = await owner.fetchval(
                "select wait_event_type || ': ' || wait_event from pg_stat_activity"
                " where application_name = 'fastocsp feed' and wait_event_type = 'Lock'"
                " and query like '%feed_poll%'"
            )
            if self.waits:
                return
            await asyncio.sleep(0.02)
        raise NotTaken("no poll waits")

    async def prove(self) -> str:
        assert self.waiter is not None
        says = "is done" if self.waiter.done() else "waits"
        return f"its poll waited in Postgres ({self.waits}); who revokes {says}"

    async def heal(self) -> None:
        for link in self.world.hosts["north"].links.values():
            link.heal()
        if self.waiter is not None:
            await self.waiter
