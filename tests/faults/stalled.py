"""The race that the barrier is for: an edge without a lease row has read the head, and its row is not committed yet."""

import asyncio

from tests.faults.fault import NotTaken, cut_off
from tests.faults.history import Change
from tests.faults.world import HORIZON_S
from tests.faults.writers import ByRevoker


class NewEdgeStalled(ByRevoker):
    """An edge without a lease row polls: it has read the head, its row is not committed, a revocation is. Who waits for
    that revocation must see the row all the same. Afterwards the edge hears nothing more for a horizon.
    """

    name, target, turn = "a new edge's poll stalled before its commit", "link", 1
    hold_s = HORIZON_S + 0.5
    waiter: "asyncio.Task[Change] | None" = None
    excused = cut_off("north")

    async def inject(self) -> None:
        host = self.world.hosts["north"]
        edge, signer = host.links["edge"], host.links["signer"]
        edge.up.hole = edge.down.hole = True
        await asyncio.sleep(0.3)
        holder = await self.world.owner()
        try:
            await holder.execute("select feed_forget('north')")
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute(
                "insert into edge_lease (edge, boot, horizon, acked_gen, acked)"
                " values ('north', gen_random_uuid(), interval '2 s', 0, 0)"
            )
            edge.reset()
            edge.heal()
            await self._until_waiting()
            edge.up.hole = signer.up.hole = signer.down.hole = True
            self.waiter = asyncio.get_running_loop().create_task(self.revoker.single("behind a stalled poll"))
            await asyncio.sleep(0.35)
            await transaction.rollback()
        finally:
            holder.terminate()

    async def _until_waiting(self) -> None:
        watcher = await self.world.owner()
        try:
            for _ in range(200):
                self.waits = await watcher.fetchval(
                    "select wait_event_type || ': ' || wait_event from pg_stat_activity"
                    " where application_name = 'fastocsp feed' and wait_event_type = 'Lock'"
                    " and query like '%feed_poll%'"
                )
                if self.waits:
                    return
                await asyncio.sleep(0.02)
            raise NotTaken("no poll waits")
        finally:
            await watcher.close()

    async def prove(self) -> str:
        assert self.waiter is not None
        says = "is done" if self.waiter.done() else "waits"
        return f"its poll waited in Postgres ({self.waits}); who revokes {says}"

    async def heal(self) -> None:
        for link in self.world.hosts["north"].links.values():
            link.heal()
        if self.waiter is not None:
            await self.waiter
