"""Everything at once: one ledger, two edges, a network that loses, doubles and reorders, and a true clock.

Each method is one thing that can happen. After each of them, and between any two stores of an edge, the watch looks.
"""

from dataclasses import dataclass, field
from functools import partial

from _fastocsp.revoked.rows import merge_groups
from _fastocsp.wire.types import REPORTED
from responder.clock import NS
from responder.feed.machine import Poll as FeedPoll
from responder.feed.machine import PollReply, TakeSnapshot
from responder.feed.reports import entries_of, rows_of
from tests.responder.feed.simulation.edge import ISSUER_NO, Edge, Killed, Request
from tests.responder.feed.simulation.ledger import FENCE, HOLD, RELEASE, REVOKE, Ledger, Poll
from tests.responder.feed.simulation.watch import SERIALS, Violation, Waiter, Watch

#: Parts of ten thousand; any two differ by less than 1 %.
RATES = (-49, 49, 0, -20, 30)
ROUNDS = 40
#: Of a poll at the server.
STEPS = 4


@dataclass
class Message:
    """On its way: a poll, its answer, a snapshot asked for, a snapshot."""

    edge: Edge
    question: FeedPoll | None = None
    boot: int = 0
    answer: PollReply | None = None
    priors: list[int] = field(default_factory=list)
    due: TakeSnapshot | None = None
    snapshot: tuple[object, object, object] | None = None


class World:
    """One history."""

    links_authenticated = True

    def __init__(self, ledger: type[Ledger] = Ledger, edge: type[Edge] = Edge, watch: type[Watch] = Watch) -> None:
        self.now = 1_700_000_000 * NS
        self.ledger = ledger()
        self.watch = watch(self.ledger)
        self.edges = [edge(name, rate, self.looked_at) for name, rate in (("a", -49), ("b", 49))]
        self.net: list[Message] = []
        self.polls: list[tuple[Poll, Message]] = []
        self.requests: list[Request] = []
        self.broken = False
        self.strangers = 0

    # -- the judge

    def looked_at(self, edge: Edge) -> None:
        """Between two stores."""
        self.broken = True
        self.judge()
        self.watch.look(edge, self.now)
        self.broken = False

    def judge(self) -> None:
        """Every waiter tries at every instant."""
        self.watch.waiters = [waiter for waiter in self.watch.waiters if not self.watch.judge(waiter, self.now)]

    def look(self) -> None:
        """At everything."""
        for edge in self.edges:
            self.looked_at(edge)

    # -- writers

    def write(self, op: int, serial: bytes, reason: int, rate: int) -> None:
        """Revoke, change the reason, or release a hold; then wait."""
        stands = self.ledger.rows.listed.get(serial)
        if op == RELEASE and (stands is None or stands[1] != HOLD):
            return
        if op == REVOKE and stands is not None and (stands[1] == reason or reason == HOLD):
            return
        self.watch.changing(op, serial, self.now)
        value = (self.now // NS, reason)
        self.ledger.append(op, serial, *value)
        at = self.ledger.rows.position
        self.watch.waiters.append(Waiter(serial, op, value, self.ledger.rows.generation, at.seq, self.now, rate))

    def dismiss(self, serial: bytes) -> None:
        """An operator decides that a report is false."""
        if serial in self.ledger.rows.reported:
            self.watch.changing(RELEASE, serial, self.now)
            self.ledger.append(RELEASE, serial, self.now // NS, 0)

    def report(self, edge: Edge) -> None:
        """What the edge knows and the ledger lacks; it forgets what was dismissed."""
        if edge.replica is None or edge.replica.machine.due is not None:
            return
        orphans = {row[1]: (row[2], row[3] & ~REPORTED) for row in rows_of(edge.replica.orphans)}
        told = self.ledger.report(orphans)
        for serial in told:
            self.watch.changing(RELEASE, serial, self.now)
        edge.replica.forget([(ISSUER_NO, serial) for serial in told])

    def report_falsely(self, serial: bytes) -> None:
        """A captured edge reports what it likes."""
        self.ledger.report({serial: (self.now // NS, 1)})

    def reconcile(self) -> None:
        """An operator has all the evidence: what was lost is revoked again, then the fence is lifted."""
        if FENCE not in self.ledger.rows.listed:
            return
        for serial, value in self.watch.lost_ones.items():
            if serial not in self.ledger.rows.listed:
                self.watch.changing(REVOKE, serial, self.now)
                self.ledger.append(REVOKE, serial, *value)
        self.ledger.append(RELEASE, FENCE, self.now // NS, 0)
        self.watch.lost_ones = {}

    def advance(self, ns: int) -> None:
        """Time goes by."""
        self.now += ns

    def disaster(self, lost: int, *, dump: bool) -> None:
        """A failover that loses commits, or an old dump."""
        if dump:
            self.ledger.restore(lost)
        else:
            self.ledger.fail_over(lost)
        self.polls = []
        self.watch.lost()

    # -- an edge's agent

    def ask(self, edge: Edge) -> None:
        """The agent's next question; one that is under way is given up."""
        if edge.replica is None or edge.page is None:
            return
        machine = edge.replica.machine
        if machine.due is not None:
            self.net.append(Message(edge, boot=edge.boots, due=machine.due))
            return
        edge.question = machine.question(edge.clocks.read(self.now))
        edge.acked = dict.fromkeys(filter(None, edge.page.listed), edge.seq())
        self.net.append(Message(edge, edge.question, edge.boots, priors=edge.priors))

    def carry(self, index: int, *, again: bool, fuse: int | None, power: bool) -> None:
        """Deliver a message, perhaps not for the last time; kill the edge after `fuse` stores."""
        if not self.net:
            return
        index %= len(self.net)
        message = self.net[index] if again else self.net.pop(index)
        if message.answer is not None or message.snapshot is not None:
            self._guarded(message.edge, partial(self._heard, message), fuse, power=power)
        elif message.question is not None:
            name, position = message.edge.name, message.question.position
            poll = Poll(name, message.boot, position, name, tuple(message.priors))
            if self.ledger.begin(poll, self.now):
                self.polls.append((poll, message))
        else:
            self._snapshot(message)

    def _snapshot(self, message: Message) -> None:
        rows = self.ledger.rows
        if self.ledger.is_moved:
            return
        items = [(REVOKE, ISSUER_NO, serial, at, reason) for serial, (at, reason) in rows.listed.items()]
        reported = entries_of((ISSUER_NO, serial, at, reason) for serial, (at, reason) in rows.reported.items())
        taken = (rows.position, merge_groups({}, items), reported)
        self.net.append(Message(message.edge, boot=message.boot, due=message.due, snapshot=taken))

    def work(self, index: int) -> None:
        """One step of a poll under way at the server: its row, status, rows, then COMMIT and send."""
        if not self.polls:
            return
        poll, message = self.polls[index % len(self.polls)]
        if poll.row is None:
            if not self.ledger.lock(poll):
                self.polls.remove((poll, message))
                if message.boot == message.edge.boots:
                    message.edge.begin_another_life()
        elif poll.answer is None:
            if not self.ledger.look(poll, self.now):
                self.polls.remove((poll, message))
        elif not poll.has_rows:
            self.ledger.read(poll)
        else:
            self.polls.remove((poll, message))
            answer = self.ledger.finish(poll, self.now)
            self.net.append(Message(message.edge, message.question, message.boot, answer))

    def _heard(self, message: Message) -> None:
        replica = message.edge.replica
        if replica is None:
            return
        if message.snapshot is not None:
            assert message.due is not None
            replica.adopt(message.due, *message.snapshot)  # type: ignore[arg-type]
            return
        assert message.question is not None
        assert message.answer is not None
        now = message.edge.clocks.read(self.now)
        if message.boot == message.edge.boots:
            message.edge.confirm_life()
        for effect in replica.machine.answered(message.question, message.answer, now):
            if not isinstance(effect, TakeSnapshot):
                replica.carry_out(effect)

    def _guarded(self, edge: Edge, act: partial[None], fuse: int | None, *, power: bool) -> None:
        edge.fuse = fuse
        try:
            act()
        except Killed:
            self.kill(edge, power=power)
        edge.fuse = None

    # -- strangers

    def speak_for(self, edge: Edge, *, stolen: bool) -> None:
        """Somebody acknowledges everything in the edge's name: with its own login, but nothing of its lives, or as
        another edge, which knows the id of its life.
        """
        known = self.ledger.rows.leases[edge.name].boot
        self.strangers += 1
        login = edge.name if stolen else next(other.name for other in self.edges if other is not edge)
        for _ in range(2):
            position = self.ledger.rows.position
            poll = Poll(edge.name, -self.strangers if stolen else known, position, login)
            if any(other.edge == edge.name for other in self.ledger.polls) or not self.ledger.begin(poll, self.now):
                return
            if self.ledger.lock(poll) and self.ledger.look(poll, self.now):
                self.ledger.read(poll)
                self.ledger.finish(poll, self.now)

    def tamper(self, index: int) -> None:
        """Somebody on the link rewrites an answer: the edge hears that nothing is new. An authenticated link ends."""
        answers = [message for message in self.net if message.answer is not None and message.question is not None]
        if not answers:
            return
        message = answers[index % len(answers)]
        self.net.remove(message)
        if not self.links_authenticated:
            assert message.answer is not None
            assert message.question is not None
            told = message.answer._replace(head=message.question.position.seq, rows=())
            self.net.append(Message(message.edge, message.question, message.boot, told))

    def kill(self, edge: Edge, *, power: bool) -> None:
        """The agent, or the whole host with its workers."""
        edge.kill(self.now, power=power)
        self.requests = [one for one in self.requests if not (power and one.edge is edge)]

    def boot(self, edge: Edge, fuse: int | None = None, *, power: bool = False) -> None:
        """Start the agent again, if it does not run."""
        if edge.replica is None:
            self._guarded(edge, partial(edge.boot), fuse, power=power)

    def turn(self, edge: Edge) -> None:
        """A whole round without any trouble."""
        self.boot(edge)
        self.ledger.current(self.now)
        for _ in range(3):
            self.ask(edge)
            sent, under_way = len(self.net), len(self.polls)
            self.carry(sent - 1, again=False, fuse=None, power=False)
            for _ in range(STEPS * (len(self.polls) - under_way)):
                self.work(len(self.polls) - 1)
            if len(self.net) >= sent:
                self.carry(len(self.net) - 1, again=False, fuse=None, power=False)

    def ask_and_stall(self, edge: Edge, steps: int) -> None:
        """A question that reaches the server, where its poll comes so far: come in, locked, status, rows, committed."""
        self.boot(edge)
        self.ask(edge)
        under_way = len(self.polls)
        self.carry(len(self.net) - 1, again=False, fuse=None, power=False)
        for _ in range(steps * (len(self.polls) - under_way)):
            self.work(len(self.polls) - 1)

    # -- a worker

    def begin_request(self, edge: Edge, serial: bytes) -> None:
        """A request comes in; at most a few at a time."""
        if edge.pages() and len(self.requests) < 4:
            page = edge.pages()[0]
            self.requests.append(Request(edge, page, serial, must_not_be_good=serial in self.watch.confirmed))

    def serve(self, index: int) -> None:
        """One load of the gate: the lease, the set, the clock."""
        if not self.requests:
            return
        request = self.requests[index % len(self.requests)]
        if request.step():
            return
        self.requests.remove(request)
        if not request.listed and request.page.open(request.edge.clocks.read(self.now), request.lease):
            self.watch.answered(request, self.now)

    # -- the end

    def settle(self) -> None:
        """Heal everything; then every edge must come to the ledger's set and be allowed to say good."""
        self.net, self.polls, self.ledger.polls = [], [], []
        for edge in self.edges:
            edge.clocks.wall_off = 0
            self.advance(NS)
            self._turn_until_there(edge)
            self.report(edge)
        for edge in self.edges:
            self._turn_until_there(edge)
            self.look()
            self.watch.settled(edge)
            page = edge.page
            if page is None or not page.open(edge.clocks.read(self.now), page.lease):
                raise Violation("C3", "the edge stays closed after everything was healed")

    def _turn_until_there(self, edge: Edge) -> None:
        """As many rounds as it takes to be where the ledger is, with a lease; ROUNDS at most."""
        for _ in range(ROUNDS):
            self.turn(edge)
            page, replica = edge.page, edge.replica
            machine = None if replica is None else replica.machine
            is_there = machine is not None and machine.due is None and machine.position == self.ledger.rows.position
            if page is not None and is_there and page.open(edge.clocks.read(self.now), page.lease):
                return


__all__ = ["HOLD", "RATES", "RELEASE", "REVOKE", "SERIALS", "World"]
