"""Strangers with one stolen login each: what it lets them hold, and what it lets them say in somebody's name. And one
on the link, who has no login but every packet.
"""

import asyncio
import contextlib
import ssl
from datetime import timedelta
from uuid import uuid4

import asyncpg
import trustme

from tests.faults.fault import Fault, cut_off, require
from tests.faults.world import HORIZON_S, until

_POLL = "select * from feed_poll($1, $2, $3, $4, $5, $6)"
_LOCKS = ("fastocsp.feed", "fastocsp.lease", "fastocsp.crl", "fastocsp.responder", "fastocsp.migrate")
_READABLE = ("crl_cache", "crl_parts", "crl_mirrors", "presign_coverage", "feed_position")


class HostileReader(Fault):
    """South's signer's login holds every lock that it can take, and polls in north's name."""

    name, target, hold_s = "a stranger with a signer's login, who holds all it can", "stranger", 2.0

    async def inject(self) -> None:
        self.stranger = await self.world.connect_as("south", "signer")
        await self.stranger.execute("set idle_in_transaction_session_timeout = 0")
        horizon = timedelta(seconds=HORIZON_S)
        head = await self.stranger.fetchrow("select generation, seq, chain from feed_position")
        assert head is not None
        row = await self.stranger.fetchrow(_POLL, "north", uuid4(), horizon, *head.values())
        assert row is not None
        self.says = row["status"]
        await self.stranger.execute("begin isolation level repeatable read")
        for name in _LOCKS:
            await self.stranger.execute("select pg_advisory_lock(hashtext($1))", name)
        await self.stranger.execute(f"lock table {', '.join(_READABLE)} in access share mode")

    async def prove(self) -> str:
        owner = await self.world.owner()
        pid = self.stranger.get_server_pid()
        held = await owner.fetchval("select count(*) from pg_locks where pid = $1 and granted", pid)
        refused = await owner.fetchval("select times from poll_refusals where edge = 'north'")
        await owner.close()
        require(held > len(_LOCKS) and refused, f"{held} locks held, {refused} refusals noted")
        return f"its poll is {self.says}; it holds {held} locks in one transaction"

    async def heal(self) -> None:
        self.stranger.terminate()


class HostileEdge(Fault):
    """North is cut off, and somebody with its login acknowledges everything in its name, as a life of its own."""

    name, target, turn, hold_s = "a stranger with the login of an edge that is cut off", "link", 1, HORIZON_S + 0.5
    excused = cut_off("north")

    async def inject(self) -> None:
        self.said = 0
        for link in self.world.hosts["north"].links.values():
            link.up.hole = link.down.hole = True
        self.stranger = await self.world.connect_as("north", "edge")
        self.speaking = asyncio.get_running_loop().create_task(self._acknowledge_all())
        while not self.said and not self.speaking.done():
            await asyncio.sleep(0.01)

    async def _acknowledge_all(self) -> None:
        boot, horizon = uuid4(), timedelta(seconds=HORIZON_S)
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            while True:
                head = await self.stranger.fetchrow("select generation, seq, chain from feed_position")
                assert head is not None
                await self.stranger.fetch(_POLL, "north", boot, horizon, *head.values())
                self.said += 1
                await asyncio.sleep(0.02)

    async def prove(self) -> str:
        owner = await self.world.owner()
        stands = await owner.fetchval("select count(*) from edge_lease where edge = '(an earlier life of north)'")
        await owner.close()
        require(self.said and stands, f"{self.said} polls in north's name, {stands} rows for the life before")
        return f"{self.said} polls of a stranger in north's name; a row stands for the lease of the life before"

    async def heal(self) -> None:
        self.speaking.cancel()
        await asyncio.gather(self.speaking, return_exceptions=True)
        self.stranger.terminate()
        for link in self.world.hosts["north"].links.values():
            link.heal()


class HostileLink(Fault):
    """North's way to the ledger is a stranger's: TLS is refused, or a certificate of another CA is shown, by turns."""

    name, target, turn, hold_s = "a stranger on north's link to Postgres", "link", 1, HORIZON_S + 0.5
    excused = cut_off("north")

    async def inject(self) -> None:
        foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        host = self.world.hosts["north"]
        trustme.CA().issue_cert(host.network.ledger_at).configure_cert(foreign)
        for link in host.links.values():
            link.hostile = foreign
            link.reset()

    async def prove(self) -> str:
        links = self.world.hosts["north"].links
        await until(lambda: all(link.foreign_shown for link in links.values()), 10, "nobody asked for TLS twice")
        counted = {name: (link.tls_refused, link.foreign_shown) for name, link in links.items()}
        return f"TLS refused and foreign certificates shown, by program: {counted}"

    async def heal(self) -> None:
        links = self.world.hosts["north"].links.values()
        for link in links:
            link.hostile = None
        deceived = sum(link.deceived for link in links)
        assert not deceived, f"{deceived} times a program of north went on with the stranger"


OF_STRANGERS = (HostileReader, HostileEdge, HostileLink)
