"""What an answer of the feed means: the state machine of coherence, sans I/O.

It owns no connection, file, memory or clock. The agent asks `question()`, sends it, and hands the answer to
`answered()`, which returns what to do, in order. The lease starts at the moment the question was asked, on this
host's own clocks, and only an answer to a pending question can extend it: a reply that was delayed, duplicated or
meant for an earlier life gives nothing.

Invariant: `position` moves only after the agent reported `applied`, and the next question carries it; so what is
acknowledged is on disk and in the set that the gate reads.
"""

import enum
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from responder.clock import NS, Instant

LIVE_AGE = 2 * NS


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


class Answer(NamedTuple):
    """What feed_poll returned: status is ok, trimmed or diverged."""

    generation: int
    head: int
    status: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Question:
    """A poll under way; `at` is when it was asked."""

    number: int
    at: Instant
    position: Position


class Apply(NamedTuple):
    """Put these rows on disk, then into the set, then call `applied`."""

    rows: tuple[Row, ...]
    position: Position


class Renew(NamedTuple):
    """`good` is allowed until then, on both clocks; `as_of` is the wall time of the question."""

    until_boot: int
    until_mono: int
    as_of: int


class TakeSnapshot(NamedTuple):
    """The feed cannot be followed from here; `keep_vanished` when entries may have been lost, not released."""

    reason: str
    keep_vanished: bool


Effect = Apply | Renew | TakeSnapshot


def next_chain(chain: bytes, seq: int, payload: bytes) -> bytes:
    """The hash chain of the outbox, as feed_append computes it."""
    return hashlib.sha256(chain + seq.to_bytes(8, "big", signed=True) + payload).digest()


class FeedMachine:
    """One life of one edge."""

    def __init__(self, horizon_s: float, position: Position | None = None) -> None:
        self.horizon = int(horizon_s * NS)
        self.position = position
        self.head = 0
        self._lease: Renew | None = None
        self._asked = 0
        self._pending: Question | None = None
        self._snapshot_due = position is None

    def question(self, now: Instant) -> Question:
        """A new question; an older one that is still under way will be ignored."""
        if self.position is None:
            raise RuntimeError("the first position comes from a snapshot")
        self._asked += 1
        self._pending = Question(self._asked, now, self.position)
        return self._pending

    def answered(self, question: Question, answer: Answer) -> list[Effect]:
        """What to do with the answer to this question."""
        if self._pending is not question or self.position is None:
            return []
        self._pending = None
        if answer.generation < self.position.generation:
            return []
        if answer.status != "ok":
            return [self._lost(answer.status, answer)]
        return self._follow(question, answer)

    def _follow(self, question: Question, answer: Answer) -> list[Effect]:
        start = question.position
        seq, chain = start.seq, start.chain
        for row in answer.rows:
            seq, chain = seq + 1, next_chain(chain, row.seq, row.payload)
            if row.seq != seq or row.chain != chain:
                return [self._lost("the rows do not follow each other", answer)]
        if seq > answer.head:
            return [self._lost("rows beyond the head", answer)]
        self.head = answer.head
        effects: list[Effect] = [Apply(answer.rows, Position(answer.generation, seq, chain))]
        if seq == answer.head:
            effects.append(self._lease_from(question.at))
        return effects

    def applied(self, position: Position) -> None:
        """The rows up to here are on disk and in the set."""
        self.position = position

    def renewed(self, lease: Renew) -> None:
        """The workers see this lease."""
        self._lease = lease

    def snapshot_taken(self, position: Position) -> None:
        """A whole set as of this position is on disk and in memory; a question must follow before any lease."""
        self.position = position
        self._snapshot_due = False
        self._pending = None

    def state(self, now: Instant) -> State:
        """What may be said now, and why."""
        lease = self._lease
        if self._snapshot_due:
            return State.BOOT if self.position is None else State.SNAPSHOT
        if lease is None:
            return State.CATCHUP
        if now.boot >= lease.until_boot or now.mono >= lease.until_mono:
            return State.CLOSED
        if self.position is not None and self.position.seq < self.head:
            return State.CATCHUP
        return State.LIVE if now.boot - (lease.until_boot - self.horizon) < LIVE_AGE else State.STALE

    def _lease_from(self, asked: Instant) -> Renew:
        return Renew(asked.boot + self.horizon, asked.mono + self.horizon, asked.wall_s)

    def _lost(self, reason: str, answer: Answer) -> TakeSnapshot:
        self._snapshot_due = True
        same_life = self.position is not None and answer.generation == self.position.generation
        return TakeSnapshot(reason, keep_vanished=not (reason == "trimmed" and same_life))
