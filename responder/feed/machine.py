"""The state machine of coherence, sans I/O: it turns answers of the feed into effects.

It owns no connection, file, memory or clock. The agent asks `question()`, sends it, and hands the answer to
`answered()`, which returns what to do, in order. The lease starts at the moment the question was asked, on this
host's own clocks, and only an answer to a pending question can extend it: a reply that was delayed, duplicated or
meant for an earlier life gives nothing.

Invariants: `position` moves only after the agent reported `applied`, and the next question carries it; so what is
acknowledged is on disk and in the set that the gate reads. A generation never falls. A set that may have lost entries
is joined with the set before it.
"""

import enum
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from responder.clock import NS, Instant

LIVE_AGE = 2 * NS
#: A wall clock that stepped further than this between two readings makes one answer worthless for a lease.
MAX_WALL_STEP = 1 * NS
#: The ledger's clock and this host's may differ by this much before nobody may be called good.
MAX_CLOCK_GAP = 60 * NS
#: The hash chain before the first row.
GENESIS = hashlib.sha256(b"").digest()
#: The status of a life's first poll: its rows are to be followed, but it gives no lease.
FIRST = "first"


class State(enum.IntEnum):
    """The edge's knowledge, in the order of the metric."""

    BOOT = 0
    SNAPSHOT = 1
    CATCHUP = 2
    LIVE = 3
    STALE = 4
    CLOSED = 5


class Position(NamedTuple):
    """A place in the feed: generation, seq, and the hash chain up to there."""

    generation: int
    seq: int
    chain: bytes


class Row(NamedTuple):
    """One row of the outbox."""

    seq: int
    chain: bytes
    payload: bytes


class PollReply(NamedTuple):
    """Answer of feed_poll: status is ok, FIRST, trimmed or diverged; `wall` is the ledger's clock, ns since the
    epoch.
    """

    generation: int
    head: int
    status: str
    rows: tuple[Row, ...]
    wall: int


@dataclass(frozen=True)
class Poll:
    """A poll under way; `at` is when it was asked, `as_of` the wall time of the last lease, epoch seconds."""

    number: int
    at: Instant
    position: Position
    as_of: int | None = None


class Apply(NamedTuple):
    """Put these rows on disk, then into the set, then call `applied`."""

    rows: tuple[Row, ...]
    position: Position


class Renew(NamedTuple):
    """`good` is allowed until then, on both clocks; `as_of` is the wall time of the question, (generation, seq) what
    the set must have for it.
    """

    until_boot: int
    until_mono: int
    as_of: int
    generation: int
    seq: int


class Withdraw(NamedTuple):
    """`good` is allowed no longer, from now on."""

    reason: str


class TakeSnapshot(NamedTuple):
    """The feed cannot be followed from here: read a whole set and hand its position to `snapshot_read`."""

    reason: str
    generation: int


class Adopt(NamedTuple):
    """Put the whole set on disk, then show it, then call `snapshot_taken`. What was an orphan stays one; with
    `keep_vanished` whatever it lacks is one too, as it may have been lost and not released.
    """

    position: Position
    keep_vanished: bool


Effect = Apply | Renew | Withdraw | TakeSnapshot


def next_chain(chain: bytes, seq: int, payload: bytes) -> bytes:
    """The hash chain of the outbox, as feed_append computes it."""
    return hashlib.sha256(chain + seq.to_bytes(8, "big", signed=True) + payload).digest()


def follows(row: Row, seq: int, chain: bytes) -> bool:
    """Does the row come directly after that place?"""
    return row.seq == seq + 1 and row.chain == next_chain(chain, row.seq, row.payload)


class FeedMachine:
    """One life of one edge."""

    def __init__(self, horizon_s: float, position: Position | None = None) -> None:
        self.horizon = int(horizon_s * NS)
        self.position = position
        self.head = 0
        self.due = TakeSnapshot("nothing is known yet", 0) if position is None else None
        self._lease: Renew | None = None
        self._asked = 0
        self._pending: Poll | None = None
        self._wall_offset: int | None = None
        self._steady = True

    def question(self, now: Instant) -> Poll:
        """A new question; an older one that is still under way will be ignored."""
        if self.position is None:
            raise RuntimeError("the first position comes from a snapshot")
        self._asked += 1
        self.due = None
        self._steady = self._wall_holds(now)
        self._pending = Poll(self._asked, now, self.position, self._lease.as_of if self._lease else None)
        return self._pending

    def answered(self, question: Poll, answer: PollReply, now: Instant) -> list[Effect]:
        """Return what to do with the answer to this question, in order."""
        if self._pending is not question or self.position is None:
            return []
        self._pending = None
        self._steady = self._wall_holds(now) and self._steady
        if answer.generation < self.position.generation:
            return []
        if answer.status not in ("ok", FIRST):
            return [self._lost(answer.status, answer)]
        return self._follow(question, answer)

    def _follow(self, question: Poll, answer: PollReply) -> list[Effect]:
        seq, chain = question.position.seq, question.position.chain
        for row in answer.rows:
            if not follows(row, seq, chain):
                return [self._lost("the rows do not follow each other", answer)]
            seq, chain = row.seq, row.chain
        if seq > answer.head:
            return [self._lost("rows beyond the head", answer)]
        if seq < answer.head and not answer.rows:
            return [self._lost("a head without its rows", answer)]
        self.head, self.due = answer.head, None
        effects: list[Effect] = [Apply(answer.rows, Position(answer.generation, seq, chain))]
        leases = seq == answer.head and answer.status != FIRST
        return effects + self._lease_from(question.at, answer) if leases else effects

    def applied(self, position: Position) -> None:
        """The rows up to here are on disk and in the set."""
        self.position = position

    def renewed(self, lease: Renew | None) -> None:
        """The workers see this lease, or that there is none."""
        self._lease = lease

    def snapshot_read(self, due: TakeSnapshot, position: Position) -> Adopt | None:
        """Return what to do with a whole set as of `position`; None when it is not expected, or of an older life."""
        if self.due is not due:
            return None
        before = self.position
        if before is None:
            return Adopt(position, keep_vanished=False)
        if position.generation < max(before.generation, due.generation):
            return None
        plain = due.reason == "trimmed" and position.generation == before.generation and position.seq >= before.seq
        return Adopt(position, keep_vanished=not plain)

    def snapshot_taken(self, position: Position) -> None:
        """The whole set as of this position is on disk and in memory; a question must follow before any lease."""
        self.position = position
        self.due = None
        self._pending = None

    def state(self, now: Instant) -> State:
        """Return the state at this moment, by the lease and the position."""
        lease = self._lease
        if self.due is not None:
            return State.BOOT if self.position is None else State.SNAPSHOT
        if lease is None:
            return State.CATCHUP
        if now.boot >= lease.until_boot or now.mono >= lease.until_mono:
            return State.CLOSED
        if self.position is not None and self.position.seq < self.head:
            return State.CATCHUP
        return State.LIVE if now.boot - (lease.until_boot - self.horizon) < LIVE_AGE else State.STALE

    def _lease_from(self, asked: Instant, answer: PollReply) -> list[Effect]:
        if abs(answer.wall - asked.wall) > MAX_CLOCK_GAP:
            return [Withdraw("the ledger's clock and this host's are more than 60 s apart")]
        if not self._steady:
            return []
        until = asked.boot + self.horizon, asked.mono + self.horizon
        return [Renew(*until, asked.wall_s, answer.generation, answer.head)]

    def _wall_holds(self, now: Instant) -> bool:
        """Did the wall clock go on with the boot clock since it was last read?"""
        offset, before = now.wall - now.boot, self._wall_offset
        self._wall_offset = offset
        return before is None or abs(offset - before) <= MAX_WALL_STEP

    def _lost(self, reason: str, answer: PollReply) -> TakeSnapshot:
        self.due = TakeSnapshot(reason, answer.generation)
        return self.due
