"""What happened, as the checker reads it: questions, changes, episodes. All times are CLOCK_MONOTONIC seconds of this
machine, so that every process here writes the same clock; `wall` is epoch seconds.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

GOOD, REVOKED = "good", "revoked"
REVOKE, RELEASE = "revoke", "release"
NONCES, GOODS, CHANGES = "nonces", "goods", "changes"


class Asked(NamedTuple):
    """One question and what came of it. `says` is good, revoked, unknown, the name of an error answer, or
    `failed: why` when there was no answer; `worker` is the pid that has the connection, 0 when that is not known.
    """

    host: str
    worker: int
    serial: str
    nonce: bool
    invoke: float
    returned: float
    wall: float
    says: str
    reason: str
    revoked_at: int
    this_update: int
    next_update: int

    @property
    def answered(self) -> bool:
        """A signed statement; tryLater is none."""
        return self.says in (GOOD, REVOKED)


@dataclass
class Change:
    """One revocation or release, with its retries: `begin` before the first try; `committed` right after COMMIT
    returned (None: never known), `confirmed` right after the word CONFIRMED (None: never said).
    """

    kind: str
    serial: str
    begin: float
    how: str
    committed: float | None = None
    confirmed: float | None = None
    outcome: str = ""
    revoked_at: int = 0
    tries: int = 0


@dataclass(frozen=True)
class Excused:
    """Questions that nobody owes an answer to while a fault lasts: those to `host` (None: any), of one of `kinds`.

    NONCES: with a nonce. GOODS: about a certificate that may be called good. CHANGES: about one whose status changed in
    this episode: its answer has to be signed anew, and who was cut off cannot know of it. No kinds: every question.
    `since_s` counts from the injection, and a fault healed before it excuses nothing. `but_workers` still owe, where
    the connection is known to be theirs.
    """

    host: str | None = None
    kinds: frozenset[str] = frozenset()
    since_s: float = 0.0
    why: str = ""
    but_workers: frozenset[int] = frozenset()


@dataclass
class Episode:
    """One fault, or two at once: from just before the injection to the end of watching."""

    name: str
    injected: float
    healed: float = 0.0
    ended: float = 0.0
    proofs: list[str] = field(default_factory=list)
    excused: list[Excused] = field(default_factory=list)


class Violation(NamedTuple):
    """A broken rule and the lines of the history that show it."""

    rule: str
    what: str
    lines: tuple[str, ...]
