"""The checker against histories written by hand: each rule has one that breaks it and one beside it that does not."""

from collections.abc import Iterable
from typing import Any

import pytest

from tests.faults.checker import RECOVERY_S, Checker
from tests.faults.history import CHANGES, GOOD, GOODS, NONCES, RELEASE, REVOKE, REVOKED, Asked, Change, Episode, Excused

H = 4.0
WALL = 1_000_000.0
BOUND = H * 1.01 + 0.05
AT = 1_000_010


def asked(invoke: float, says: str = GOOD, **differing: Any) -> Asked:
    """A question of 10 ms, its answer signed in time."""
    wall = WALL + invoke
    one = Asked("north", 7, "aa", False, invoke, invoke + 0.01, wall, says, "", 0, int(wall), int(wall) + 60)
    return one._replace(revoked_at=AT if says == REVOKED else 0)._replace(**differing)


def revoked(begin: float = 10.0, committed: float | None = 10.1, confirmed: float | None = 10.2) -> Change:
    """A revocation of aa."""
    return Change(REVOKE, "aa", begin, "test", committed, confirmed, revoked_at=AT)


def released(begin: float, confirmed: float | None = None, revoked_at: int = AT) -> Change:
    """The release of aa."""
    return Change(RELEASE, "aa", begin, "test", begin + 0.1, confirmed, revoked_at=revoked_at)


def broken(
    questions: Iterable[Asked], changes: Iterable[Change] = (), excused: Iterable[Excused] = (), enough: int = 0
) -> set[str]:
    """The rules that this history breaks; the fault is injected at 20 and healed at 30."""
    episode = Episode("test", 20.0, 30.0, 40.0, [], list(excused))
    return {violation.rule for violation in Checker(H).judge(episode, questions, changes, enough)}


@pytest.mark.parametrize(
    ("invoke", "rules"), [(10.1, set()), (10.19, set()), (10.21, {"C1", "C7"}), (13.0, {"C1", "C7"})]
)
def test_c1_good_after_the_confirmation(invoke: float, rules: set[str]) -> None:
    """Begun before CONFIRMED either answer is right, begun after it `good` is a lie."""
    assert broken([asked(invoke)], [revoked()]) == rules


def test_c1_a_question_begun_before_may_be_answered_after() -> None:
    """What counts is when it began."""
    assert broken([asked(10.15, returned=11.0)], [revoked()]) == set()


@pytest.mark.parametrize(("late", "rules"), [(-0.01, set()), (0.01, {"C2"})])
def test_c2_good_after_the_bound_without_a_confirmation(late: float, rules: set[str]) -> None:
    """Commit + 1.01 H + 50 ms ends it, acknowledged or not."""
    assert broken([asked(10.1 + BOUND + late)], [revoked(confirmed=None)]) == rules


def test_c2_needs_a_known_commit() -> None:
    """A revocation of unknown outcome promises nothing."""
    assert broken([asked(30.0)], [revoked(committed=None, confirmed=None)]) == set()


def test_c4_revoked_then_good() -> None:
    """Nothing but a release of that very revocation lets it be good again."""
    history = [asked(10.05, REVOKED), asked(10.08)]
    change = revoked(confirmed=None)
    assert broken(history, [change]) == {"C4"}
    assert broken(history, [change, released(10.06)]) == set()
    assert broken(history, [change, released(10.06, revoked_at=AT - 1)]) == {"C4"}
    assert broken([history[0], asked(10.08, host="south")], [change]) == set()


def test_c4_looks_back_over_episodes() -> None:
    """What a host once said is remembered."""
    checker = Checker(H)
    episode = Episode("test", 20.0, 30.0, 40.0)
    assert checker.judge(episode, [asked(10.05, REVOKED)], [revoked(confirmed=None)], 0) == []
    assert [violation.rule for violation in checker.judge(episode, [asked(10.08)], [], 0)] == ["C4"]


@pytest.mark.parametrize(
    ("differing", "rules"),
    [
        ({"this_update": 1_000_020}, set()),
        ({"this_update": 1_000_021}, {"C5"}),
        ({"this_update": 1_000_016, "nonce": True}, set()),
        ({"this_update": 1_000_015, "nonce": True}, {"C5"}),
        ({"this_update": 990_000}, set()),
        ({"next_update": 1_000_020}, {"C5"}),
        ({"next_update": 1_000_021}, set()),
    ],
)
def test_c5_times_of_good(differing: dict[str, Any], rules: set[str]) -> None:
    """Never of the future; signed for the question: of the last horizon; signed ahead: in its window."""
    assert broken([asked(20.0, **differing)]) == rules


def test_c6_revoked_that_never_was() -> None:
    """A revocation that has only begun may be seen; one that has not may not."""
    assert broken([asked(9.9, REVOKED)], [revoked()]) == {"C6", "C7"}
    assert broken([asked(10.0, REVOKED)], [revoked()]) == set()
    assert broken([asked(10.0, REVOKED)]) == {"C6", "C7"}


@pytest.mark.parametrize("says", ["TRY_LATER", "UNAUTHORIZED", "unknown", "failed: TimeoutError"])
def test_c7_no_answer(says: str) -> None:
    """Without an excuse every question is owed one; with one, silence and tryLater are right, a wrong word is not."""
    assert broken([asked(25.0, says)]) == {"C7"}
    wrong = says in ("UNAUTHORIZED", "unknown")
    assert broken([asked(25.0, says)], excused=[Excused()]) == ({"C7"} if wrong else set())


def test_c7_a_release_that_is_confirmed_is_owed_good() -> None:
    """Revoked after that is as wrong as silence."""
    changes = [revoked(), released(11.0, 11.5)]
    assert broken([asked(11.2, REVOKED)], changes) == set()
    assert broken([asked(11.6, REVOKED)], changes) == {"C7"}
    assert broken([asked(11.6)], changes) == set()


@pytest.mark.parametrize(
    ("excused", "question", "rules"),
    [
        (Excused("north"), asked(25, "TRY_LATER"), set()),
        (Excused("south"), asked(25, "TRY_LATER"), {"C7"}),
        (Excused(), asked(19.9, "TRY_LATER"), {"C7"}),
        (Excused(), asked(30 + RECOVERY_S - 0.01, "TRY_LATER"), set()),
        (Excused(), asked(30 + RECOVERY_S + 0.01, "TRY_LATER"), {"C7"}),
        (Excused(since_s=4), asked(23.9, "TRY_LATER"), {"C7"}),
        (Excused(since_s=4), asked(24, "TRY_LATER"), set()),
        (Excused(since_s=10), asked(30.5, "TRY_LATER"), set()),
        (Excused(since_s=10.1), asked(30.5, "TRY_LATER"), {"C7"}),
        (Excused(kinds=frozenset({NONCES})), asked(25, "TRY_LATER"), {"C7"}),
        (Excused(kinds=frozenset({NONCES})), asked(25, "TRY_LATER", nonce=True), set()),
        (Excused(kinds=frozenset({GOODS})), asked(25, "TRY_LATER"), set()),
        (Excused(kinds=frozenset({GOODS})), asked(25, "TRY_LATER", serial="bb"), {"C7"}),
        (Excused(but_workers=frozenset({7})), asked(25, "TRY_LATER"), {"C7"}),
        (Excused(but_workers=frozenset({8})), asked(25, "TRY_LATER"), set()),
        (Excused(kinds=frozenset({NONCES, CHANGES})), asked(25, "TRY_LATER", serial="bb"), set()),
    ],
)
def test_c7_an_excuse_is_for_its_questions_alone(excused: Excused, question: Asked, rules: set[str]) -> None:
    """By host, time, nonce, worker, status and change; recovery has two seconds."""
    bb = Change(REVOKE, "bb", 15.0, "test", 15.1, 15.2)
    assert broken([question], [bb], [excused]) == rules


def test_c8_too_few_questions() -> None:
    """Only those begun after a confirmation count."""
    history = [asked(10.3 + n / 100, REVOKED) for n in range(5)]
    assert broken([*history, asked(10.0)], [revoked()], enough=5) == set()
    assert broken([*history, asked(10.0)], [revoked()], enough=6) == {"C8"}


def test_a_violation_shows_its_lines() -> None:
    """The offending line is there as it was recorded."""
    episode = Episode("test", 20.0, 30.0, 40.0)
    violations = Checker(H).judge(episode, [asked(11.0)], [revoked()], 0)
    assert [violation.rule for violation in violations] == ["C1", "C7"]
    assert "serial='aa'" in violations[0].lines[0]
