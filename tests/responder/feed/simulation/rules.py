"""Hypothesis draws what happens in the world, in any order."""

from collections.abc import Callable
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from responder.clock import NS
from tests.responder.feed.simulation.ledger import HORIZON_S
from tests.responder.feed.simulation.openings import OPENINGS
from tests.responder.feed.simulation.watch import NEVER
from tests.responder.feed.simulation.world import HOLD, RATES, RELEASE, REVOKE, SERIALS, World

edges = st.integers(0, 1)
serials = st.sampled_from(SERIALS)
indexes = st.integers(0, 5)
fuses = st.none() | st.integers(0, 5)
spans = st.sampled_from([NS // 1000, NS, HORIZON_S * NS // 2, HORIZON_S * NS * 51 // 50, 31 * NS])


class FeedRules(RuleBasedStateMachine):
    """One history of the feed."""

    make: ClassVar[type[World]] = World
    examples: ClassVar[int] = 0
    confirmations: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).examples += 1
        self.world = self.make()

    @initialize(opening=st.sampled_from(OPENINGS))
    def start(self, opening: Callable[[World], None]) -> None:
        opening(self.world)

    @rule(edge=edges, steps=st.integers(0, 4))
    def ask_and_stall(self, edge: int, steps: int) -> None:
        self.world.ask_and_stall(self.world.edges[edge], steps)

    @rule(edge=edges, serial=serials)
    def slow_worker(self, edge: int, serial: bytes) -> None:
        self.world.begin_request(self.world.edges[edge], serial)
        self.world.serve(-1)
        self.world.turn(self.world.edges[edge])

    @rule()
    def serve_all(self) -> None:
        while self.world.requests:
            self.world.serve(0)

    @rule(edge=edges)
    def turn(self, edge: int) -> None:
        self.world.turn(self.world.edges[edge])

    @rule(edge=edges)
    def ask(self, edge: int) -> None:
        self.world.ask(self.world.edges[edge])

    @rule(index=indexes, again=st.booleans(), fuse=fuses, power=st.booleans())
    def carry(self, index: int, again: bool, fuse: int | None, power: bool) -> None:
        self.world.carry(index, again=again, fuse=fuse, power=power)

    @rule(index=indexes)
    def carry_quietly(self, index: int) -> None:
        self.world.carry(index, again=False, fuse=None, power=False)

    @rule(index=indexes)
    def work(self, index: int) -> None:
        self.world.work(index)

    @rule()
    def work_all(self) -> None:
        while self.world.polls:
            self.world.work(0)

    @rule()
    def carry_all(self) -> None:
        for _ in range(len(self.world.net)):
            self.world.carry(0, again=False, fuse=None, power=False)

    @rule(index=indexes)
    def drop(self, index: int) -> None:
        if self.world.net:
            self.world.net.pop(index % len(self.world.net))

    @rule(span=spans)
    def advance(self, span: int) -> None:
        self.world.advance(span)

    @rule(serial=serials, reason=st.sampled_from([HOLD, 1, 4]), rate=st.sampled_from(RATES))
    def revoke(self, serial: bytes, reason: int, rate: int) -> None:
        self.world.write(REVOKE, serial, reason, rate)

    @rule(serial=serials, rate=st.sampled_from(RATES))
    def release(self, serial: bytes, rate: int) -> None:
        self.world.write(RELEASE, serial, HOLD, rate)

    @rule(edge=edges)
    def report(self, edge: int) -> None:
        self.world.report(self.world.edges[edge])

    @rule(serial=st.sampled_from([*SERIALS, NEVER]))
    def report_falsely(self, serial: bytes) -> None:
        self.world.report_falsely(serial)

    @rule(serial=st.sampled_from([*SERIALS, NEVER]))
    def dismiss(self, serial: bytes) -> None:
        self.world.dismiss(serial)

    @rule(keep=st.integers(0, 3))
    def trim(self, keep: int) -> None:
        self.world.ledger.trim(self.world.ledger.rows.position.seq - keep)

    @rule(edge=edges, power=st.booleans())
    def kill(self, edge: int, power: bool) -> None:
        self.world.kill(self.world.edges[edge], power=power)

    @rule(edge=edges, fuse=fuses, power=st.booleans())
    def boot(self, edge: int, fuse: int | None, power: bool) -> None:
        self.world.boot(self.world.edges[edge], fuse, power=power)

    @rule(lost=st.integers(0, 8), dump=st.booleans())
    def disaster(self, lost: int, dump: bool) -> None:
        self.world.disaster(lost, dump=dump and lost > 5)

    @rule()
    def reconcile(self) -> None:
        self.world.reconcile()

    @rule(edge=edges, stolen=st.booleans())
    def speak_for(self, edge: int, stolen: bool) -> None:
        self.world.speak_for(self.world.edges[edge], stolen=stolen)

    @rule(index=indexes)
    def tamper(self, index: int) -> None:
        self.world.tamper(index)

    @rule(edge=edges)
    def lapse(self, edge: int) -> None:
        self.world.ledger.lapse(self.world.edges[edge].name, self.world.now)

    @rule()
    def a_writer_looks(self) -> None:
        self.world.ledger.current(self.world.now)

    @rule(edge=edges, serial=serials)
    def request(self, edge: int, serial: bytes) -> None:
        self.world.begin_request(self.world.edges[edge], serial)

    @rule(index=indexes)
    def serve(self, index: int) -> None:
        self.world.serve(index)

    @rule(edge=edges, seconds=st.sampled_from([-3600, -5, -1, 1, 30, 3600]))
    def step_wall(self, edge: int, seconds: int) -> None:
        self.world.edges[edge].clocks.wall_off += seconds * NS

    @rule(edge=edges, span=spans)
    def sleep(self, edge: int, span: int) -> None:
        self.world.edges[edge].clocks.slept += span
        self.world.advance(span)

    @invariant()
    def nobody_lies(self) -> None:
        self.world.look()

    def teardown(self) -> None:
        type(self).confirmations += self.world.watch.confirmations
        if not self.world.broken:
            self.world.settle()
