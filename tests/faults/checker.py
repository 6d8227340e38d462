"""The history checker: questions and changes in, violations of C1 to C8 out. It owns no clock. The rules are those of
docs/explanation/coherence.md.

What counts as an answer: `good` or `revoked`, signed, for that serial, with that nonce; the asker has checked that.
tryLater, another error, a broken connection after one reconnect and silence are none. While a change is between its
begin and its confirmation either status is right. Who is excused may say tryLater or nothing, and nothing else.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.faults.history import (
    CHANGES,
    GOOD,
    GOODS,
    NONCES,
    RELEASE,
    REVOKE,
    REVOKED,
    Asked,
    Change,
    Episode,
    Excused,
    Violation,
)

DRIFT, SLACK_S = 1.01, 0.05
TRY_LATER = "TRY_LATER"
RECOVERY_S = 2.0
ENOUGH = 1000
#: Lines shown of each broken rule in an episode.
SHOWN = 12


class Checker:
    """Judges episode by episode; remembers what each host once called revoked, and every change."""

    def __init__(self, horizon_s: float) -> None:
        self.horizon = horizon_s
        self.after = 0
        self.changes: dict[str, list[Change]] = defaultdict(list)
        self._seen: dict[tuple[str, str], tuple[int, float]] = {}
        self.counts: Counter[str] = Counter()

    def judge(
        self, episode: Episode, asked: Iterable[Asked], changes: Iterable[Change], enough: int = ENOUGH
    ) -> list[Violation]:
        """The episode's violations; `changes` are those begun in it. `after` counts its questions that C8 asks for."""
        fresh = list(changes)
        for change in fresh:
            self.changes[change.serial].append(change)
        changed = {change.serial for change in fresh}
        found: list[tuple[str, str]] = []
        after = 0
        for one in sorted(asked, key=lambda each: each.returned):
            found += [(rule, f"{what}: {one}") for rule, what in self._broken(one)]
            after += self._after_confirmation(one)
            self.counts["C2"] += self._after_bound(one)
            found += self._owed(one, episode, changed)
        self.after = after
        self.counts["C1"] += after
        violations = _gathered(found)
        if after < enough:
            violations.append(Violation("C8", f"only {after} questions begun after a confirmation", ()))
        return violations

    def _broken(self, one: Asked) -> Iterable[tuple[str, str]]:
        self.counts["questions"] += 1
        if one.says == GOOD:
            yield from self._too_late(one)
            yield from self._turned(one)
            yield from self._times(one)
        elif one.says == REVOKED:
            yield from self._never_revoked(one)
            self._remember(one)

    def _too_late(self, one: Asked) -> Iterable[tuple[str, str]]:
        standing = self._standing(one)
        if standing is None:
            return
        if standing.confirmed is not None and one.invoke > standing.confirmed:
            yield "C1", f"good {one.invoke - standing.confirmed:.3f} s after CONFIRMED"
        if standing.committed is not None:
            late = one.invoke - (standing.committed + self.horizon * DRIFT + SLACK_S)
            if late > 0:
                yield "C2", f"good {late:.3f} s after the bound"

    def _standing(self, one: Asked) -> Change | None:
        """The revocation that no release had begun to lift when the answer came."""
        before = [change for change in self.changes[one.serial] if change.begin <= one.returned]
        return before[-1] if before and before[-1].kind == REVOKE else None

    def _turned(self, one: Asked) -> Iterable[tuple[str, str]]:
        self.counts["C4"] += 1
        revoked_at, when = self._seen.get((one.host, one.serial), (0, float("inf")))
        if one.invoke <= when:
            return
        releases = (c for c in self.changes[one.serial] if c.kind == RELEASE and c.begin <= one.returned)
        if not any(release.revoked_at == revoked_at for release in releases):
            yield "C4", "revoked before, good now, never released"

    def _remember(self, one: Asked) -> None:
        key = (one.host, one.serial)
        known = self._seen.get(key, (0, 0.0))
        if one.revoked_at > known[0]:
            self._seen[key] = (one.revoked_at, one.returned)

    def _times(self, one: Asked) -> Iterable[tuple[str, str]]:
        """Signed for this question: within the horizon. Signed before: in its window, and never of the future."""
        self.counts["C5"] += 1
        returned_wall = one.wall + one.returned - one.invoke
        if one.this_update > returned_wall:
            yield "C5", "thisUpdate lies ahead"
        if one.nonce and one.this_update < int(one.wall - self.horizon):
            yield "C5", "signed now, as of a time before the horizon"
        if one.next_update <= one.wall:
            yield "C5", "past its nextUpdate"

    def _never_revoked(self, one: Asked) -> Iterable[tuple[str, str]]:
        self.counts["C6"] += 1
        if not any(c.kind == REVOKE and c.begin <= one.returned for c in self.changes[one.serial]):
            yield "C6", "revoked, and never was"

    def _after_confirmation(self, one: Asked) -> bool:
        standing = self._standing(one)
        return standing is not None and standing.confirmed is not None and one.invoke > standing.confirmed

    def _after_bound(self, one: Asked) -> bool:
        standing = self._standing(one)
        bound = self.horizon * DRIFT + SLACK_S
        return standing is not None and standing.committed is not None and one.invoke > standing.committed + bound

    def _owed(self, one: Asked, episode: Episode, changed: set[str]) -> list[tuple[str, str]]:
        self.counts["C7"] += 1
        if one.answered and one.says in self._due(one):
            return []
        silent = one.says == TRY_LATER or one.says.startswith("failed")
        if silent and any(self._excuses(excused, one, episode, changed) for excused in episode.excused):
            self.counts["excused"] += 1
            return []
        return [("C7", f"{one.says}, owed {' or '.join(sorted(self._due(one)))}: {one}")]

    def _due(self, one: Asked) -> set[str]:
        """Both while a change is under way; one confirmed before the question leaves one only."""
        due = {GOOD}
        for change in self.changes[one.serial]:
            if change.begin > one.returned:
                break
            says = REVOKED if change.kind == REVOKE else GOOD
            settled = change.confirmed is not None and change.confirmed < one.invoke
            due = {says} if settled else due | {says}
        return due

    def _excuses(self, excused: Excused, one: Asked, episode: Episode, changed: set[str]) -> bool:
        begin, healed = episode.injected + excused.since_s, episode.healed or float("inf")
        return (
            healed >= begin
            and one.returned >= begin
            and one.invoke <= healed + RECOVERY_S
            and excused.host in (None, one.host)
            and (one.worker == 0 or one.worker not in excused.but_workers)
            and (not excused.kinds or bool(excused.kinds & self._kinds(one, changed)))
        )

    def _kinds(self, one: Asked, changed: set[str]) -> set[str]:
        is_so = {NONCES: one.nonce, GOODS: GOOD in self._due(one), CHANGES: one.serial in changed}
        return {kind for kind, so in is_so.items() if so}


def _gathered(found: list[tuple[str, str]]) -> list[Violation]:
    by_rule: dict[str, list[str]] = defaultdict(list)
    for rule, line in found:
        by_rule[rule].append(line)
    return [
        Violation(rule, f"{len(lines)} times, first: {lines[0].partition(':')[0]}", tuple(lines[:SHOWN]))
        for rule, lines in sorted(by_rule.items())
    ]
