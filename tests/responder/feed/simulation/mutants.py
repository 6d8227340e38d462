"""Builds that lie: each leaves one thing out of the real machine, the real replica or the model around them.

`broken` of a mutant takes pytest's monkeypatch; a world made after that has the fault.
"""

from collections.abc import Callable
from typing import Any

import pytest

from _fastocsp.wire.types import Item
from responder.clock import Instant
from responder.feed import replica, reports
from responder.feed.machine import Adopt, Apply, FeedMachine, PollReply, Position, Renew, TakeSnapshot
from responder.feed.machine import Poll as FeedPoll
from tests.responder.feed.simulation import edge, ledger, watch, world

Broken = Callable[[pytest.MonkeyPatch], None]


def _machine(**methods: Any) -> Broken:
    def broken(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(replica, "FeedMachine", type("Mutant", (FeedMachine,), methods))

    return broken


def _model(owner: type, name: str, instead: Any) -> Broken:
    return lambda patch: patch.setattr(owner, name, instead)


class _FromReceipt(FeedMachine):
    def answered(self, question: FeedPoll, answer: PollReply, now: Instant) -> list[Any]:
        effects = super().answered(question, answer, now)
        late = {"until_boot": now.boot + self.horizon, "until_mono": now.mono + self.horizon, "as_of": now.wall_s}
        return [effect._replace(**late) if isinstance(effect, Renew) else effect for effect in effects]


class _NoGapCheck(FeedMachine):
    def _follow(self, question: FeedPoll, answer: PollReply) -> list[Any]:
        if not answer.rows:
            return super()._follow(question, answer)
        self.head, last = answer.head, answer.rows[-1]
        effects: list[Any] = [Apply(answer.rows, Position(answer.generation, last.seq, last.chain))]
        return effects + self._lease_from(question.at, answer) if last.seq == answer.head else effects


class _NoHeadCheck(FeedMachine):
    def _follow(self, question: FeedPoll, answer: PollReply) -> list[Any]:
        effects = super()._follow(question, answer)
        applied = isinstance(effects[0], Apply) and len(effects) == 1
        return effects + self._lease_from(question.at, answer) if applied else effects


class _TrimStall(FeedMachine):
    def answered(self, question: FeedPoll, answer: PollReply, now: Instant) -> list[Any]:
        return [] if answer.status == "trimmed" else super().answered(question, answer, now)


def _old_snapshot(self: FeedMachine, due: TakeSnapshot, position: Position) -> Adopt:
    return Adopt(position, keep_vanished=due.reason == "diverged")


def _no_union(self: FeedMachine, due: TakeSnapshot, position: Position) -> Adopt | None:
    adopted = FeedMachine.snapshot_read(self, due, position)
    return adopted and Adopt(position, keep_vanished=False)


def _class(mutant: type[FeedMachine]) -> Broken:
    return lambda patch: patch.setattr(replica, "FeedMachine", mutant)


def _ack_any(self: ledger.Ledger, generation: int, seq: int, now: int) -> list[str]:
    lagging = _UNACKED(self, generation, seq, now)
    return lagging if len(lagging) == sum(lease.leased for lease in self.rows.leases.values()) else []


def _ack_on_send(self: ledger.Ledger, poll: ledger.Poll) -> tuple[int, int]:
    assert poll.answer is not None
    sent = poll.answer.rows[-1].seq if poll.answer.rows else poll.position.seq
    return poll.answer.generation, sent


def _set_before_lease(self: edge.Request) -> bool:
    self.loads += 1
    if self.loads == 1:
        self.listed = self.serial in self.page.listed
    elif self.loads == 2:
        self.lease = self.page.lease
    return self.loads <= 2


def _head_at_once(self: ledger.Ledger, poll: ledger.Poll, wall: int) -> bool:
    return _BEGIN(self, poll, wall) and self.look(poll, wall)


def _forgotten_leases(self: ledger.Ledger, now: int) -> None:
    _CURRENT(self, now)
    self.rows.leases.pop(ledger.BEFORE, None)


def _kept_over_power(self: edge.Edge, now: int, *, power: bool) -> None:
    pages = [*self.old_pages, *self.pages()]
    _KILL(self, now, power=power)
    if power:
        self.old_pages = pages[-1:]


def _reports_dropped(items: list[Item], find: Any) -> list[Item]:
    return [item for item in items if not reports.is_report(item)]


def _as_revocation(item: Item) -> Item:
    return (ledger.REVOKE, *item[1:])


def _nothing(self: object, *_: object) -> None:
    """Left out."""


_UNACKED, _CURRENT, _BEGIN = ledger.Ledger.unacked, ledger.Ledger.current, ledger.Ledger.begin
_KILL = edge.Edge.kill


#: The twelve of the specification, the barrier's replaced by the two rules that do without it, and more of this house.
def _no_fence(self: ledger.Ledger, now: int) -> None:
    self.commit()


MUTANTS: dict[str, Broken] = {
    "lease from receipt": _class(_FromReceipt),
    "old snapshot": _machine(snapshot_read=_old_snapshot),
    "old life": _model(edge.Edge, "close_former_page", _nothing),
    "no union with the old set": _machine(snapshot_read=_no_union),
    "no epoch": _model(ledger.Ledger, "current", _nothing),
    "no gap check": _class(_NoGapCheck),
    "no head check": _class(_NoHeadCheck),
    "trim stall": _class(_TrimStall),
    "ack any": _model(ledger.Ledger, "unacked", _ack_any),
    "ack on send": _model(ledger.Ledger, "acknowledged", _ack_on_send),
    "first poll gives a lease": _model(ledger.Ledger, "is_first", lambda self, poll, before: False),
    "head before the row": _model(ledger.Ledger, "begin", _head_at_once),
    "no fsync": _model(edge.ModelDisk, "sync", _nothing),
    "set before lease": _model(edge.Request, "step", _set_before_lease),
    "lease over a boot": _model(edge.Edge, "kill", _kept_over_power),
    "lost leases forgotten": _model(ledger.Ledger, "current", _forgotten_leases),
    "lease by name": _model(ledger.Ledger, "owns", lambda self, poll: True),
    "life before forgotten": _model(ledger.Ledger, "is_successor", lambda self, poll, before: True),
    "lapse too early": _model(ledger.Ledger, "has_run_out", lambda self, lease, now: True),
    "unauthenticated link": _model(world.World, "links_authenticated", False),
    "orphan as revocation": lambda patch: patch.setattr(reports, "as_entry", _as_revocation),
    "orphan not blocked": lambda patch: patch.setattr(replica, "effective_items", _reports_dropped),
    "no fence": _model(ledger.Ledger, "fence", _no_fence),
    "named by a report": lambda patch: patch.setattr(reports, "is_report", lambda item: False),
}
__all__ = ["MUTANTS", "watch"]
