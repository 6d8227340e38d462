"""The report of a run: report.json for programs, index.html for people, nothing in it from elsewhere.

The page has the verdict on each rule, the timeline (faults, state of each edge, answers a second), and for each fault
its proof, what was asked and answered, every change with its way from commit to confirmation, and what was broken.
"""

import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults import page
from tests.faults.history import Asked, Change, Episode, Violation
from tests.faults.hosts import ROOT

if TYPE_CHECKING:
    from tests.faults.run import Run

RULES = {
    "C1": "begun after CONFIRMED: not good",
    "C2": "later than commit + 1.01 H + 50 ms: not good",
    "C3": "every edge has the ledger's set at the end",
    "C4": "never revoked, then good, without a release",
    "C5": "good as of a time within the horizon",
    "C6": "what never was revoked is not called so",
    "C7": "answers that were owed came; recovery within 2 s",
    "C8": "enough questions after confirmations (fewest of any fault)",
}


#: A machine that is busy with something else breaks these, and no other.
OF_SPEED = ("C7", "C8")


@dataclass
class Judged:
    """One episode with its figures."""

    episode: Episode
    questions: int
    after: int
    says: dict[str, int]
    seconds: Counter[tuple[int, str]]
    workers: dict[str, int]
    changes: list[Change]
    violations: list[Violation]
    repeated: bool = False

    @property
    def rate_per_s(self) -> float:
        """Questions a second."""
        return self.questions / max(0.001, self.episode.ended - self.episode.injected)

    @property
    def counted(self) -> list[Violation]:
        """Without those of availability when the episode was repeated on a machine that could not cope."""
        return [each for each in self.violations if not (self.repeated and each.rule in OF_SPEED)]

    @classmethod
    def of(
        cls, episode: Episode, asked: list[Asked], after: int, changes: list[Change], violations: list[Violation]
    ) -> "Judged":
        """Counted."""
        asked_of: dict[str, set[int]] = {}
        for one in asked:
            asked_of.setdefault(one.host, set()).update({one.worker} - {0})
        return cls(
            episode,
            len(asked),
            after,
            dict(Counter(kind_of(one.says) for one in asked).most_common()),
            Counter((int(one.returned), kind_of(one.says)) for one in asked),
            {host: len(pids) for host, pids in sorted(asked_of.items())},
            list(changes),
            violations,
        )

    @property
    def summary(self) -> str:
        """For a line of progress."""
        broken = ", ".join(sorted({violation.rule for violation in self.violations}))
        verdict = f"BROKEN {broken}{', repeated' if self.repeated else ''}" if broken else "held"
        return f"{self.rate_per_s:.0f} a second, {self.after} after a confirmation, {verdict}; {self.proof[:110]}"

    @property
    def proof(self) -> str:
        """Of all its faults."""
        return "; ".join(self.episode.proofs)


def kind_of(says: str) -> str:
    """What is counted together."""
    return "no answer" if says.startswith("failed") else says


def write(run: "Run", folder: Path) -> Path:
    """Both files; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    found = facts(run)
    (folder / "report.json").write_text(json.dumps(found, indent=1))
    (folder / "index.html").write_text(page.render(found))
    return folder / "index.html"


def facts(run: "Run") -> dict[str, Any]:
    """All of it, times in seconds since the start."""
    begun, counts = run.begun, run.checker.counts
    broken = Counter(violation.rule for violation in run.violations)
    faults = [judged for judged in run.episodes if judged.episode.proofs and not judged.repeated]
    checked = {rule: counts[rule] for rule in RULES} | {
        "C3": 1 + len(run.world.run_folders),
        "C8": min((judged.after for judged in faults), default=0),
    }
    return {
        "seed": run.seed,
        "full": run.full,
        "commit": commit(),
        "machine": f"{os.cpu_count()} processors, Linux {platform.release()}, Python {platform.python_version()}",
        "hosts": ("network namespaces" if run.world.own_networks else "separate processes of one network")
        + "; north and south behind TCP proxies and on wall clocks of their own",
        "horizon_s": run.checker.horizon,
        "seconds": run.ended - begun,
        "questions": counts["questions"],
        "excused": counts["excused"],
        "changes": len(run.revoker.changes),
        "left_out": run.left_out,
        "rules": [
            {"rule": rule, "says": says, "checked": checked[rule], "broken": broken[rule]}
            for rule, says in RULES.items()
        ],
        "not_taken": broken["proof"],
        "ended": broken["ended"],
        "final": run.final,
        "states": list(runs_of(run.samples, begun)),
        "episodes": [told(judged, begun) for judged in run.episodes],
    }


def told(judged: Judged, begun: float) -> dict[str, Any]:
    """One episode."""
    episode = judged.episode
    return {
        "name": episode.name,
        "begin": episode.injected - begun,
        "healed": (episode.healed or episode.ended) - begun,
        "end": episode.ended - begun,
        "proof": judged.proof,
        "excused": [
            asdict(excused) | {"kinds": sorted(excused.kinds), "but_workers": []} for excused in episode.excused
        ],
        "questions": judged.questions,
        "rate_per_s": round(judged.rate_per_s),
        "repeated": judged.repeated,
        "after": judged.after,
        "says": judged.says,
        "workers": judged.workers,
        "seconds": [[second - begun, says, count] for (second, says), count in sorted(judged.seconds.items())],
        "changes": [asdict(change) | {"begin": change.begin - begun} | _waits(change) for change in judged.changes],
        "violations": [violation._asdict() for violation in judged.violations],
    }


def _waits(change: Change) -> dict[str, Any]:
    if change.committed is None or change.confirmed is None:
        return {"wait_s": None}
    return {"wait_s": round(change.confirmed - change.committed, 4)}


def runs_of(samples: Iterable[tuple[float, dict[str, str]]], begun: float) -> Iterable[dict[str, Any]]:
    """Samples that say the same, put together."""
    open_runs: dict[str, dict[str, Any]] = {}
    for at, states in samples:
        for host, state in states.items():
            last = open_runs.get(host)
            if last is not None:
                last["end"] = at - begun
            if last is None or last["state"] != state:
                if last is not None:
                    yield last
                open_runs[host] = {"host": host, "state": state, "begin": at - begun, "end": at - begun}
    yield from open_runs.values()


def commit() -> str:
    """Of the tree that runs, marked when it differs."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"
