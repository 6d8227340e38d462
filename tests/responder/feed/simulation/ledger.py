"""A model of the ledger: what 0002_feed.sql, 0018_logins.sql and 0030_fences.sql promise, on one true clock.

A poll is not atomic: the lock of its row, status, rows and COMMIT are four steps, and others may act between them.
Every commit is kept, so that a failover may lose the last ones and a restore may go back to any.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from responder.clock import NS
from responder.feed.machine import FIRST, GENESIS, PollReply, Position, Row, next_chain

HORIZON_S = 10
SLACK_NS = 50_000_000
#: Names of rows that stand for leases which no other row tells of.
BEFORE, EARLIER = "(before)", "(an earlier life of {})"
EDGES = ("a", "b")
REVOKE, RELEASE, REPORT = 1, 2, 4
HOLD = 6
#: The serial number of a fence.
FENCE = b""
KEPT_COMMITS = 60

Listed = dict[bytes, tuple[int, int]]


class Lease(NamedTuple):
    """A row of edge_lease; `at` is true time, `login` None of a row that stands for leases of others."""

    boot: int
    generation: int
    seq: int
    at: int
    prior: int | None = None
    login: str | None = None
    leased: bool = True


def _added() -> dict[str, Lease]:
    """Every edge, as `fastocsp edge add` leaves it: each has a login of its own."""
    return {name: Lease(0, 0, 0, 0, login=name, leased=False) for name in EDGES}


@dataclass
class Rows:
    """The tables, as of one commit."""

    timeline: int = 1
    generation: int = 1
    position: Position = field(default=Position(1, 0, GENESIS))
    base: int = 0
    base_chain: bytes = GENESIS
    events: dict[int, Row] = field(default_factory=dict)
    listed: Listed = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=_added)
    reported: Listed = field(default_factory=dict)
    dismissed: dict[bytes, int] = field(default_factory=dict)

    def copied(self) -> "Rows":
        """Another one with the same rows."""
        return replace(
            self,
            events=copy(self.events),
            listed=copy(self.listed),
            leases=copy(self.leases),
            reported=copy(self.reported),
            dismissed=copy(self.dismissed),
        )


@dataclass
class Poll:
    """feed_poll under way at the server; `row` is its edge's, once it is locked."""

    edge: str
    boot: int
    position: Position
    login: str
    priors: tuple[int, ...] = ()
    row: Lease | None = None
    answer: PollReply | None = None
    has_rows: bool = False


def item(op: int, serial: bytes, at: int, reason: int) -> bytes:
    """As feed_item writes it."""
    return bytes((op, 0, 1, len(serial))) + serial + at.to_bytes(8, "big") + bytes((reason,)) + bytes(8)


class Ledger:
    """The primary of the moment."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.commits = [self.rows.copied()]
        self.timeline = 1
        self.highest_generation = 1
        self.polls: list[Poll] = []

    def commit(self) -> None:
        """What stands now is there for everybody, and may be lost by a failover."""
        self.commits = [*self.commits[-KEPT_COMMITS:], self.rows.copied()]
        self.highest_generation = max(self.highest_generation, self.rows.generation)

    # -- writers

    def append(self, op: int, serial: bytes, at: int, reason: int) -> None:
        """A revocation, a changed reason, a release, a report or its dismissal, committed."""
        rows = self.rows
        seq = rows.position.seq + 1
        payload = item(op, serial, at, reason)
        chain = next_chain(rows.position.chain, seq, payload)
        rows.events[seq] = Row(seq, chain, payload)
        rows.position = Position(rows.generation, seq, chain)
        if op == REVOKE:
            rows.listed[serial] = (at, reason)
            rows.reported.pop(serial, None)
        elif op == REPORT:
            rows.reported[serial] = (at, reason)
        elif serial in rows.listed:
            del rows.listed[serial]
        else:
            del rows.reported[serial]
            rows.dismissed[serial] = at
        self.commit()

    def report(self, orphans: Listed) -> list[bytes]:
        """feed_report_orphans, and orphans_settle at once; the serials of those that were dismissed."""
        rows = self.rows
        for serial, (at, reason) in orphans.items():
            if serial not in rows.listed and serial not in rows.reported and at >= rows.dismissed.get(serial, 0):
                self.append(REPORT, serial, at, reason)
        return [serial for serial, (at, _) in orphans.items() if at < rows.dismissed.get(serial, 0)]

    def unacked(self, generation: int, seq: int, now: int) -> list[str]:
        """feed_unacked; it waits for nobody."""
        self.current(now)
        self.forget_placeholders(now)
        return [
            name
            for name, lease in self.rows.leases.items()
            if lease.leased and (lease.generation, lease.seq) < (generation, seq)
        ]

    def lapse(self, edge: str, now: int) -> None:
        """edge_lapse, by a warmer: never of a row that a poll has locked."""
        lease = self.rows.leases[edge]
        if self.has_run_out(lease, now) and not any(poll.row for poll in self.polls if poll.edge == edge):
            self.rows.leases[edge] = lease._replace(leased=False)
            self.commit()

    def has_run_out(self, lease: Lease, now: int) -> bool:
        """No lease that the row tells of can stand."""
        return now - lease.at > HORIZON_S * NS * 1.01 + NS

    def trim(self, upto: int) -> None:
        """Drop events; `upto` may pass what an edge that was away for long has."""
        rows = self.rows
        upto = min(upto, rows.position.seq)
        if upto <= rows.base:
            return
        rows.base, rows.base_chain = upto, rows.events[upto].chain
        rows.events = {seq: row for seq, row in rows.events.items() if seq > upto}
        self.commit()

    # -- feed_poll, in four steps

    def current(self, now: int) -> None:
        """feed_current_head of a writer: the first look at another timeline begins a generation. Leases may be lost,
        and revocations too: the fence is in the same commit.
        """
        rows = self.rows
        if rows.timeline == self.timeline:
            return
        rows.timeline = self.timeline
        rows.generation += 1
        rows.position = rows.position._replace(generation=rows.generation)
        rows.leases[BEFORE] = Lease(0, 0, 0, now)
        self.fence(now)

    def fence(self, now: int) -> None:
        """fences_set, and COMMIT; one that is there is in the feed already."""
        if FENCE in self.rows.listed:
            self.commit()
        else:
            self.append(REVOKE, FENCE, now // NS, 255)

    @property
    def is_moved(self) -> bool:
        """No writer has looked since another server took over."""
        return self.rows.timeline != self.timeline

    def begin(self, poll: Poll, wall: int) -> bool:
        """The poll comes in; False: it is an error, or refused."""
        if not self.owns(poll):
            return False
        self.polls.append(poll)
        return True

    def owns(self, poll: Poll) -> bool:
        """Does its login own that edge?"""
        return self.rows.leases[poll.edge].login == poll.login

    def lock(self, poll: Poll) -> bool:
        """The row, once every poll of the same edge that came before has ended. False: the poll is turned away."""
        if next(other for other in self.polls if other.edge == poll.edge) is not poll:
            return True
        poll.row = self.rows.leases[poll.edge]
        if poll.row.prior == poll.boot:
            self.polls.remove(poll)
            return False
        return True

    def look(self, poll: Poll, wall: int) -> bool:
        """Epoch and status. False: the ledger is another one, and no writer has begun its generation yet."""
        rows, seq = self.rows, poll.position.seq
        if self.is_moved:
            self.polls.remove(poll)
            return False
        chain = rows.base_chain if seq == rows.base else rows.events[seq].chain if seq in rows.events else None
        status = "ok"
        if seq > rows.position.seq:
            status = "diverged"
        elif seq < rows.base:
            status = "trimmed"
        elif seq > 0 and chain != poll.position.chain:
            status = "diverged"
        poll.answer = PollReply(rows.generation, rows.position.seq, status, (), wall)
        return True

    def read(self, poll: Poll) -> None:
        """The rows: another statement, which sees what was trimmed since."""
        assert poll.answer is not None
        poll.has_rows = True
        if poll.answer.status == "ok":
            found = [
                row for seq, row in sorted(self.rows.events.items()) if poll.position.seq < seq <= poll.answer.head
            ]
            poll.answer = poll.answer._replace(rows=tuple(found[:3]))

    def finish(self, poll: Poll, now: int) -> PollReply:
        """The lease row, and COMMIT."""
        assert poll.answer is not None
        assert poll.row is not None
        self.polls.remove(poll)
        before, acked = poll.row, self.acknowledged(poll)
        if before.leased and before.boot != poll.boot and not self.is_successor(poll, before):
            self.rows.leases[EARLIER.format(poll.edge)] = Lease(0, 0, 0, now)
        prior = before.prior if before.boot == poll.boot else before.boot
        self.rows.leases[poll.edge] = Lease(poll.boot, *acked, now, prior, before.login)
        self.commit()
        if poll.answer.status == "ok" and self.is_first(poll, before):
            return poll.answer._replace(status=FIRST)
        return poll.answer

    def is_successor(self, poll: Poll, before: Lease) -> bool:
        """Does this life know the one before it?"""
        return before.boot in poll.priors

    def is_first(self, poll: Poll, before: Lease) -> bool:
        """Did no committed row tell of this life's leases when the poll began?"""
        return not (before.leased and before.boot == poll.boot)

    def acknowledged(self, poll: Poll) -> tuple[int, int]:
        """What this poll's lease row says."""
        assert poll.answer is not None
        if poll.answer.status == "diverged":
            return 0, 0
        return poll.position.generation, poll.position.seq

    def forget_placeholders(self, now: int) -> None:
        """Leases that no other row tells of have ended by themselves after a horizon."""
        self.rows.leases = {
            name: lease
            for name, lease in self.rows.leases.items()
            if lease.login is not None or not self.has_run_out(lease, now)
        }

    # -- disasters

    def fail_over(self, lost: int) -> None:
        """A standby that had not heard the last commits takes over; polls under way die with their server."""
        self.rows = self.commits[max(0, len(self.commits) - 1 - lost)].copied()
        self._new_life()

    def restore(self, back: int) -> None:
        """An old dump; whoever restores it raises the generation above every one there was."""
        self.rows = self.commits[max(0, len(self.commits) - 1 - back)].copied()
        self.rows.generation = self.highest_generation
        self._new_life()

    def _new_life(self) -> None:
        self.timeline += 1
        self.polls = []
        self.commits = [self.rows.copied()]
