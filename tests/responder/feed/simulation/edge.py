"""A model of an edge host around the real FeedMachine and Replica: clocks that drift, a disk that forgets what was not
synced, a page that outlives the agent's life, and workers that look at it in the gate's order.
"""

from collections.abc import Callable
from dataclasses import dataclass

from _fastocsp.revoked.rows import merge_groups
from _fastocsp.wire.types import Groups, Item
from responder.clock import NS, Instant
from responder.feed.journal import RecoveredState
from responder.feed.machine import Poll as FeedPoll
from responder.feed.machine import Position, Renew, Row, State
from responder.feed.replica import Replica
from tests.responder.feed.simulation.ledger import FENCE, HORIZON_S, REVOKE, Listed

ISSUER_NO = 1


class Killed(Exception):
    """kill -9, just now."""


@dataclass
class Clocks:
    """Of one host; `rate` is how fast they run, in parts of ten thousand."""

    rate: int
    wall_off: int = 0
    slept: int = 0
    booted: int = 0

    def read(self, now: int) -> Instant:
        """At true time `now`."""
        boot = (now - self.booted) * (10_000 + self.rate) // 10_000
        return Instant(boot, boot - self.slept, now + self.wall_off)


class Page:
    """The shared page and image of one life."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step
        self.listed: Listed = {}
        self.lease: Renew | None = None
        self.orphans = 0
        self.told: dict[bytes, int] = {}
        self.whole = False
        self.seq = 0
        self.former: Renew | None = None

    def replace(self, groups: Groups) -> None:
        self._step()
        self.whole = True
        self.listed = {
            rows[at : at + n]: (int.from_bytes(rows[at + n : at + n + 4], "big"), rows[at + n + 4])
            for (_, n), rows in groups.items()
            for at in range(0, len(rows), n + 5)
        }

    def apply(self, items: list[Item]) -> None:
        for op, _, serial, at, reason in items:
            self._step()
            if op == REVOKE:
                self.listed[serial] = (at, reason)
            else:
                self.listed.pop(serial, None)

    def listing(self) -> Groups:
        items = [(REVOKE, ISSUER_NO, serial, at, reason) for serial, (at, reason) in self.listed.items()]
        return merge_groups({}, items)

    def find(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        return self.listed.get(serial)

    def renew(self, lease: Renew | None) -> None:
        self._step()
        self.lease = lease

    def former_lease(self) -> Renew | None:
        return self.former

    def show(self, position: Position, head: int, state: State) -> None:
        """Nothing safe depends on it."""

    def show_orphans(self, count: int) -> None:
        self.orphans = count

    def show_journal(self, *, is_written: bool) -> None:
        """Nothing safe depends on it."""

    def open(self, clocks: Instant, lease: Renew | None) -> bool:
        """The gate's last question, but for the fence."""
        return lease is not None and clocks.boot < lease.until_boot and clocks.mono < lease.until_mono


class ModelDisk:
    """The journal: what is synced survives a power cut, the rest only kill -9."""

    def __init__(self) -> None:
        self.step: Callable[[], None] = lambda: None
        self.synced: RecoveredState | None = None
        self.written: RecoveredState | None = None

    def open(self) -> RecoveredState | None:
        return self.written

    def require(self) -> None:
        """It can always be written."""

    @property
    def fault(self) -> str | None:
        return None

    def append(self, rows: tuple[Row, ...], position: Position) -> None:
        assert self.written is not None
        self.step()
        self.written = self.written._replace(rows=self.written.rows + rows, position=position)
        self.step()
        self.sync()

    def replace(self, position: Position, groups: Groups, orphans: Groups) -> None:
        self.step()
        self.written = self.synced = RecoveredState(position, groups, (), orphans)

    def sync(self) -> None:
        """What fdatasync does."""
        self.synced = self.written

    def cut_power(self) -> None:
        """What was not synced is gone."""
        self.written = self.synced


class Edge:
    """One host under one name."""

    def __init__(self, name: str, rate: int, step: Callable[["Edge"], None]) -> None:
        self.name, self._step = name, step
        self.clocks = Clocks(rate)
        self.disk = ModelDisk()
        self.boots = 0
        self.lives: list[int] = []
        self.priors: list[int] = []
        self.replica: Replica | None = None
        self.page: Page | None = None
        self.old_pages: list[Page] = []
        self.question: FeedPoll | None = None
        self.fuse: int | None = None
        self.acked: dict[bytes, int] = {}

    def stepped(self) -> None:
        """Between any two stores somebody may look, or kill."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise Killed
        self._step(self)

    def boot(self) -> None:
        """A new life: it closes the page of the one before, then shows what the disk kept."""
        self.boots += 1
        self.priors = list(self.lives)
        self.lives.append(self.boots)
        former = self.former_lease()
        self.close_former_page()
        self.page = Page(self.stepped)
        self.page.former = former
        self.disk.step = self.stepped
        self.question = None
        replica = Replica(HORIZON_S, self.page, self.disk)
        replica.boot()
        self.replica = replica

    def begin_another_life(self) -> None:
        """Told that somebody else polled under its name, the agent goes on as a life of its own."""
        self.priors.append(self.boots)
        self.boots += 1
        self.lives = [*self.priors, self.boots]

    def confirm_life(self) -> None:
        """The ledger knows this life."""
        self.lives = [self.boots]

    def former_lease(self) -> Renew | None:
        """Of the page that lies there; a boot of the host ends it."""
        return self.old_pages[-1].lease if self.old_pages else None

    def close_former_page(self) -> None:
        for page in self.old_pages:
            page.lease = None

    def kill(self, now: int, *, power: bool) -> None:
        """The agent dies; its workers are slower, unless the whole host goes."""
        if self.page is not None:
            self.old_pages = [*self.old_pages, self.page][-2:]
        self.replica = self.page = self.question = None
        self.fuse = None
        if power:
            self.old_pages = []
            self.disk.cut_power()
            self.clocks.booted, self.clocks.slept = now - NS, 0

    def seq(self) -> int:
        """Of the position that the machine stands at."""
        position = self.replica.machine.position if self.replica is not None else None
        return position.seq if position is not None else 0

    def pages(self) -> list[Page]:
        """Every page that some worker looks at."""
        return [*self.old_pages, *([self.page] if self.page is not None else [])]


@dataclass
class Request:
    """One OCSP request in a worker, on its way through the gate: lease, set, clock."""

    edge: Edge
    page: Page
    serial: bytes
    must_not_be_good: bool
    lease: Renew | None = None
    listed: bool = False
    loads: int = 0

    def step(self) -> bool:
        """The next load; False when only the clock is left."""
        self.loads += 1
        if self.loads == 1:
            self.lease = self.page.lease
        elif self.loads == 2:
            self.listed = not self.page.listed.keys().isdisjoint((self.serial, FENCE))
        return self.loads <= 2
