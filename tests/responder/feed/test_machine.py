"""The state machine, answer by answer."""

import pytest

from responder.clock import NS, Instant
from responder.feed.machine import (
    GENESIS,
    Adopt,
    Apply,
    Effect,
    FeedMachine,
    PollReply,
    Position,
    Renew,
    Row,
    State,
    TakeSnapshot,
    Withdraw,
    next_chain,
)

H = 10
START = Position(3, 0, GENESIS)
T0 = Instant(100 * NS, 90 * NS, 1_700_000_000 * NS)


def later(seconds: float, *, wall: float = 0.0) -> Instant:
    """So long after T0; the wall clock stepped by `wall` besides."""
    ns = int(seconds * NS)
    return Instant(T0.boot + ns, T0.mono + ns, T0.wall + ns + int(wall * NS))


def rows(*payloads: bytes, after: Position = START) -> tuple[Row, ...]:
    """Rows that follow on a position."""
    made, seq, chain = [], after.seq, after.chain
    for payload in payloads:
        seq, chain = seq + 1, next_chain(chain, seq + 1, payload)
        made.append(Row(seq, chain, payload))
    return tuple(made)


def answer(
    *told: Row, generation: int = 3, head: int | None = None, status: str = "ok", wall: int = T0.wall
) -> PollReply:
    """With the head at the last row."""
    return PollReply(generation, (told[-1].seq if told else 0) if head is None else head, status, told, wall)


def asked(machine: FeedMachine, told: PollReply, *, after: float = 0.2, wall: float = 0.0) -> list[Effect]:
    """Question at T0, its answer later."""
    return machine.answered(machine.question(T0), told, later(after, wall=wall))


@pytest.fixture
def machine() -> FeedMachine:
    """At the beginning of the feed."""
    return FeedMachine(H, START)


def test_a_lease_starts_when_the_edge_asked(machine: FeedMachine) -> None:
    """On both clocks; an answer 9 s later gives what is left."""
    renew = Renew(T0.boot + H * NS, T0.mono + H * NS, T0.wall_s, 3, 0)
    assert asked(machine, answer(), after=9) == [Apply((), START), renew]


def test_only_the_pending_question_is_answered(machine: FeedMachine) -> None:
    """Given up, answered before, or of another life: nothing."""
    first, second = machine.question(T0), machine.question(T0)
    assert machine.answered(first, answer(), T0) == []
    assert machine.answered(second, answer(), T0) != []
    assert machine.answered(second, answer(), T0) == []
    assert FeedMachine(H, START).answered(second, answer(), T0) == []


def test_a_lower_generation_is_not_heard(machine: FeedMachine) -> None:
    """An old primary can neither lease nor rewind."""
    assert asked(machine, answer(*rows(b"x"), generation=2)) == []
    assert asked(machine, answer(status="diverged", generation=2)) == []


def test_a_higher_generation_is_taken_with_the_position(machine: FeedMachine) -> None:
    """The chain fits, so it is the same history; the next question acknowledges in the new generation."""
    (apply, _) = asked(machine, answer(generation=4))
    assert apply == Apply((), Position(4, 0, GENESIS))
    assert isinstance(apply, Apply)
    machine.applied(apply.position)
    assert machine.question(T0).position.generation == 4


def test_no_lease_before_the_head(machine: FeedMachine) -> None:
    """Rows are applied; the head is further on."""
    told = rows(b"x", b"y")
    assert asked(machine, answer(*told, head=3)) == [Apply(told, Position(3, 2, told[1].chain))]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (answer(*rows(b"x", b"y")[1:]), "follow"),
        (answer(Row(1, bytes(32), b"x")), "follow"),
        (answer(*rows(b"x"), *rows(b"x")), "follow"),
        (answer(*rows(b"x", b"y"), head=1), "beyond"),
        (answer(head=5), "without its rows"),
        (answer(status="trimmed", head=5), "trimmed"),
        (answer(status="diverged", head=5), "diverged"),
    ],
)
def test_what_cannot_be_followed_means_a_snapshot(machine: FeedMachine, told: PollReply, reason: str) -> None:
    """Gap, another chain, the same row twice, rows beyond the head, a head without rows; or the ledger says so."""
    (effect,) = asked(machine, told)
    assert isinstance(effect, TakeSnapshot)
    assert reason in effect.reason
    assert machine.position == START
    assert machine.state(T0) is State.SNAPSHOT


@pytest.mark.parametrize(
    ("status", "generation", "seq", "keep"),
    [
        ("trimmed", 3, 9, False),
        ("diverged", 3, 9, True),
        ("trimmed", 4, 9, True),
        ("trimmed", 3, -1, True),
    ],
)
def test_vanished_entries_go_only_after_a_plain_trim(
    machine: FeedMachine, status: str, generation: int, seq: int, keep: bool
) -> None:
    """Same generation, a later place, and nothing but trimmed: then they were released, else they may be lost."""
    (due,) = asked(machine, answer(status=status, head=9))
    assert isinstance(due, TakeSnapshot)
    position = Position(generation, seq, bytes(32))
    assert machine.snapshot_read(due, position) == Adopt(position, keep_vanished=keep)


def test_a_snapshot_of_an_older_life_is_refused(machine: FeedMachine) -> None:
    """Lower generation than ours or than the answer's; or nobody asked; or asked before."""
    (due,) = asked(machine, answer(status="diverged", generation=5))
    assert isinstance(due, TakeSnapshot)
    assert machine.snapshot_read(due, Position(4, 9, b"")) is None
    assert machine.snapshot_read(TakeSnapshot(due.reason, 5), Position(5, 9, b"")) is None
    machine.snapshot_taken(Position(5, 9, b""))
    assert machine.snapshot_read(due, Position(5, 9, b"")) is None


def test_a_wall_step_costs_one_renewal(machine: FeedMachine) -> None:
    """Between question and answer, or between two questions; the rows are applied all the same."""
    assert asked(machine, answer(), wall=2) == [Apply((), START)]
    assert asked(machine, answer()) == [Apply((), START)]
    assert len(asked(machine, answer())) == 2
    assert len(asked(machine, answer(), wall=0.9)) == 2


@pytest.mark.parametrize(("gap_s", "withdrawn"), [(61, True), (-61, True), (59, False), (-59, False)])
def test_nobody_is_good_while_the_clocks_differ(machine: FeedMachine, gap_s: int, withdrawn: bool) -> None:
    """More than 60 s between the ledger's clock and ours end the lease that stands."""
    effects = asked(machine, answer(wall=T0.wall + gap_s * NS))
    assert isinstance(effects[-1], Withdraw if withdrawn else Renew)


def test_states_follow_the_lease(machine: FeedMachine) -> None:
    """LIVE for two seconds, STALE to the horizon, then CLOSED; on either clock."""
    assert machine.state(T0) is State.CATCHUP
    renew = asked(machine, answer())[-1]
    assert isinstance(renew, Renew)
    machine.renewed(renew)
    states = [machine.state(later(age)) for age in (0, 1.9, 2, 9.9, 10)]
    assert states == [State.LIVE, State.LIVE, State.STALE, State.STALE, State.CLOSED]
    assert machine.state(later(0)._replace(mono=later(10).mono)) is State.CLOSED
    machine.renewed(None)
    assert machine.state(T0) is State.CATCHUP


def test_the_first_position_comes_from_a_snapshot() -> None:
    """Without one there is no question; it is adopted whole."""
    machine = FeedMachine(H)
    assert machine.state(T0) is State.BOOT
    with pytest.raises(RuntimeError):
        machine.question(T0)
    assert machine.due is not None
    assert machine.snapshot_read(machine.due, START) == Adopt(START, keep_vanished=False)
