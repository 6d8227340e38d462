"""Faults of the link between a host and Postgres, by the proxy: black hole, reset, delay, a late last reply."""

import asyncio
from pathlib import Path

from tests.faults.fault import Fault, cut_off, require
from tests.faults.world import HORIZON_S, until
from tests.support.proxy import Proxy

LATE_S = 0.85


class OfLink(Fault):
    """`host`'s edge and signer lose Postgres, nobody else."""

    host, target, turn = "north", "link", 1
    excused = cut_off("north")

    @property
    def links(self) -> list[Proxy]:
        """The host's."""
        return list(self.world.hosts[self.host].links.values())

    async def heal(self) -> None:
        for link in self.links:
            link.heal()


class BlackHole(OfLink):
    """Shorter than the horizon."""

    name, hold_s = "black hole to north, shorter than H", HORIZON_S / 2

    async def inject(self) -> None:
        self.before = sum(way.held for link in self.links for way in (link.up, link.down))
        for link in self.links:
            link.up.hole = link.down.hole = True

    async def prove(self) -> str:
        def held() -> int:
            return sum(way.held for link in self.links for way in (link.up, link.down)) - self.before

        await until(held, 3, "nothing was swallowed")
        return f"the proxy holds {held()} octets"


class BlackHoleLong(BlackHole):
    """Longer."""

    name, hold_s, stretch = "black hole to north, longer than H", HORIZON_S + 0.5, True
    excused = cut_off("north")


class Reset(OfLink):
    """Every connection gets RST, and every new one."""

    name, hold_s = "connections of north reset", 1.5

    async def inject(self) -> None:
        self.before = sum(link.resets for link in self.links)
        for link in self.links:
            link.refusing = True
            link.reset()

    async def prove(self) -> str:
        await asyncio.sleep(0.5)
        resets = sum(link.resets for link in self.links) - self.before
        return require(resets >= 4, f"{resets} connections reset by the proxy") + f"; poller {self.links[1].poller()}"


class Delay(OfLink):
    """Everything arrives, later than a lease lasts."""

    name, hold_s, host = "delay of H and more to south, both ways", HORIZON_S + 1.2, "south"
    excused = cut_off("south")

    async def inject(self) -> None:
        for link in self.links:
            link.up.delay_s = link.down.delay_s = HORIZON_S + 0.2

    async def prove(self) -> str:
        await until(lambda: self.world.states()[self.host] != "LIVE", HORIZON_S, "polls are still answered")
        state = self.world.states()[self.host]
        return f"delay {self.links[0].up.delay_s} s; state {state}: no poll was answered in time"


class LateReply(OfLink):
    """One poll's reply comes 0.85 s late and nothing after it: a lease counted from its receipt would be too long."""

    name, hold_s = "a late reply, then a black hole to north", HORIZON_S + 1.6
    excused = cut_off("north")

    async def inject(self) -> None:
        edge, signer = self.world.hosts[self.host].links["edge"], self.world.hosts[self.host].links["signer"]

        def be_late() -> None:
            edge.down.delay_s = LATE_S
            edge.up.hole = signer.up.hole = signer.down.hole = True

        await edge.next_poll(be_late)
        self.held = edge.up.held
        await asyncio.sleep(0.05)

    async def prove(self) -> str:
        edge = self.world.hosts[self.host].links["edge"]
        await until(lambda: edge.up.held > self.held, 3, "no later poll was swallowed")
        return f"reply {LATE_S} s late, then the proxy held {edge.up.held - self.held} octets"


class Pulled(OfLink):
    """The cable between the host's network and Postgres: no proxy is to blame, and TCP sends again for itself."""

    name, hold_s, stretch, host = "cable of south to Postgres pulled, longer than H", HORIZON_S + 0.5, True, "south"
    excused = cut_off("south")

    async def inject(self) -> None:
        self.world.hosts[self.host].network.pull()

    async def prove(self) -> str:
        await until(lambda: self.world.states()[self.host] != "LIVE", HORIZON_S, "polls are still answered")
        state = Path("/sys/class/net", self.world.hosts[self.host].network.cable, "operstate").read_text().strip()
        return require(state == "down", f"the cable is {state}") + f"; state {self.world.states()[self.host]}"

    async def heal(self) -> None:
        self.world.hosts[self.host].network.plug()


OF_LINKS = (BlackHole, BlackHoleLong, Reset, Delay, LateReply, Pulled)
