"""The invariants: what a judge who sees every clock and every page demands at every instant."""

from dataclasses import dataclass, field

from responder.clock import NS
from responder.feed.reports import is_blocking, rows_of
from tests.responder.feed.simulation.edge import Edge, Page, Request
from tests.responder.feed.simulation.ledger import FENCE, HORIZON_S, RELEASE, REVOKE, SLACK_NS, Ledger

SERIALS = tuple(bytes((number, 0x55)) for number in range(1, 4))
NEVER = b"\x7f\x7f"
BOUND_NS = HORIZON_S * NS * 101 // 100 + SLACK_NS
WALL_NS = 61 * NS


class Violation(AssertionError):
    """A cache lied; `invariant` is which promise it broke."""

    def __init__(self, invariant: str, words: str) -> None:
        super().__init__(f"{invariant}: {words}")
        self.invariant = invariant


@dataclass
class Waiter:
    """`revoke --wait`, with a clock of its own."""

    serial: bytes
    op: int
    value: tuple[int, int] | None
    generation: int
    seq: int
    begun: int
    rate: int

    def elapsed(self, now: int) -> int:
        return (now - self.begun) * (10_000 + self.rate) // 10_000


@dataclass
class Watch:
    """What has been promised so far: of a confirmed serial its time and reason, or None when only "not good" is.

    `lost_ones` were confirmed and are not in the ledger any more: nobody may call them good before it is reconciled.
    """

    ledger: Ledger
    confirmed: dict[bytes, tuple[int, int] | None] = field(default_factory=dict)
    lost_ones: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    values: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    committed: dict[bytes, int] = field(default_factory=dict)
    released: dict[bytes, int] = field(default_factory=lambda: dict.fromkeys((*SERIALS, NEVER), 0))
    waiters: list[Waiter] = field(default_factory=list)
    confirmations: int = 0
    ever: set[bytes] = field(default_factory=set)

    def changing(self, op: int, serial: bytes, now: int) -> None:
        """A change is about to be committed: what was confirmed of the serial before is no longer so."""
        if serial in self.confirmed:
            self.confirmed[serial] = None
        for waiter in self.waiters:
            waiter.value = None if waiter.serial == serial else waiter.value
        if op == RELEASE:
            self.waiters = [waiter for waiter in self.waiters if waiter.serial != serial]
            self.confirmed.pop(serial, None)
            self.lost_ones.pop(serial, None)
            self.released[serial] = max(self.released[serial], self.ledger.rows.position.seq + 1)
            self.committed.pop(serial, None)
        else:
            self.committed.setdefault(serial, now)
            self.ever.add(serial)

    def lost(self) -> None:
        """After a disaster: what the ledger does not have any more is promised by live edges alone."""
        listed = self.ledger.rows.listed
        self.lost_ones |= {serial: self.values[serial] for serial in self.confirmed if serial not in listed}
        self.confirmed = {
            serial: value if listed[serial] == value else None
            for serial, value in self.confirmed.items()
            if serial in listed
        }
        self.committed = {serial: at for serial, at in self.committed.items() if serial in listed}

    def judge(self, waiter: Waiter, now: int) -> bool:
        """wait_for_edges, one round: True when it is over."""
        if self.ledger.unacked(waiter.generation, waiter.seq, now) and waiter.elapsed(now) < BOUND_NS:
            return False
        rows = self.ledger.rows
        stands = (waiter.serial in rows.listed) == (waiter.op == REVOKE)
        if rows.generation != waiter.generation:
            if stands:
                waiter.generation, waiter.seq, waiter.begun = rows.generation, rows.position.seq, now
            return not stands
        if stands and waiter.op == REVOKE:
            value = rows.listed[waiter.serial]
            self.values[waiter.serial] = value
            self.confirmed[waiter.serial] = value if value == waiter.value else self.confirmed.get(waiter.serial)
            self.confirmations += 1
        return True

    def look(self, edge: Edge, now: int) -> None:
        """Ask every worker of the edge about every serial."""
        if edge.page is not None:
            edge.page.seq = edge.seq()
        for page in edge.pages():
            is_open = page.open(edge.clocks.read(now), page.lease)
            for serial in SERIALS:
                self._one(page, serial, is_open=is_open, now=now)
            if NEVER in page.listed and not is_blocking(page.listed[NEVER][1]):
                raise Violation("C6", "a certificate that never was revoked is called so")
            self._reported(edge, page)
            if is_open and page.lease is not None and abs(page.lease.as_of * NS - now) > BOUND_NS + WALL_NS:
                raise Violation("C5", f"good as of {page.lease.as_of} at {now / NS}")
        self._kept(edge)

    def _one(self, page: Page, serial: bytes, *, is_open: bool, now: int) -> None:
        value = page.listed.get(serial)
        if value is not None and is_blocking(value[1]):
            return  # neither good nor revoked
        if value is not None:
            if serial not in self.ever:
                raise Violation("C6", f"{serial.hex()} is called revoked on the word of an edge")
            page.told[serial] = page.seq
            if is_open and (self.confirmed.get(serial) or value) != value:
                raise Violation("C1", "a confirmed change of reason is not answered")
        elif is_open and FENCE not in page.listed:
            if serial in self.lost_ones:
                raise Violation("F1", f"good for {serial.hex()}, which was confirmed and is lost")
            if serial in self.confirmed:
                raise Violation("C1", f"good for {serial.hex()} after CONFIRMED")
            if now > self.committed.get(serial, now) + BOUND_NS:
                raise Violation("C2", f"good for {serial.hex()} later than the bound")
            if page.told.get(serial, -1) >= self.released[serial]:
                raise Violation("C4", f"{serial.hex()} went from revoked to good without a release")

    def _reported(self, edge: Edge, page: Page) -> None:
        """An edge that is where the ledger is lets nothing pass for what is reported."""
        if edge.replica is None or page is not edge.page or edge.replica.machine.position != self.ledger.rows.position:
            return
        if edge.replica.machine.due is None and not self.ledger.rows.reported.keys() <= page.listed.keys():
            raise Violation("O1", "a reported orphan can be called good")

    def _kept(self, edge: Edge) -> None:
        if edge.replica is None or edge.page is None or not edge.page.whole:
            return
        for serial, seq in edge.acked.items():
            if seq >= self.released[serial] and serial not in edge.page.listed:
                raise Violation("P2", f"{serial.hex()} was acknowledged and is forgotten")

    def answered(self, request: Request, now: int) -> None:
        """A request that began after CONFIRMED was answered good."""
        if request.must_not_be_good and request.serial in self.confirmed:
            raise Violation("C1", f"good for {request.serial.hex()}, asked after CONFIRMED, by a slow worker")

    def settled(self, edge: Edge) -> None:
        """At the end: the edge has what the ledger has, and may say good."""
        assert edge.page is not None
        listed = self.ledger.rows.listed
        assert edge.replica is not None
        if {serial: edge.page.listed.get(serial) for serial in listed} != listed:
            raise Violation("C3", "the edge lacks what the ledger has")
        orphans = {row[1] for row in rows_of(edge.replica.orphans)}
        if edge.page.listed.keys() != {*listed, *orphans, *self.ledger.rows.reported}:
            raise Violation("C3", "the edge has more, or less, than the ledger, its orphans and what is reported")
        if len(orphans) != edge.page.orphans:
            raise Violation("C3", "orphans without an alarm")
        if not orphans <= self.ledger.rows.reported.keys():
            raise Violation("C3", "orphans that were not reported")
