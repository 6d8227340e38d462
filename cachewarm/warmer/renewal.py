"""When records are renewed, and when a segment of the inventory is visited next. Pure; all times are epoch seconds.

A record is due between 0.38 and 0.48 of its life, spread by its name (responder/domain/window.py). A visit signs what
is due within one *slack* from now, a quarter of that spread, so a segment needs about five visits per life of its
records, not one for each of them. Visits are on a grid of that width; where the grid begins differs from segment to
segment, so the visits, and with them the signatures, are spread evenly over all segments.
"""

import zlib
from typing import NamedTuple

from responder.domain.window import EARLIEST, LATEST, renewal_due

#: Visits of a segment while its records become due.
VISITS_PER_SPREAD = 4
NEVER = float("inf")


class Wake(NamedTuple):
    """When a record is due at the latest, and the slack of records with its length of life."""

    at: float = NEVER
    slack: float = 0.0


class Renewals:
    """The rules for records that live for `validity_s` at most."""

    def __init__(self, validity_s: float) -> None:
        self._validity = validity_s
        self._slack = validity_s * (LATEST - EARLIEST) / VISITS_PER_SPREAD

    def slack(self, life_s: float) -> float:
        """Return the slack of records with that life: halved for each halving of their life, so that grids agree."""
        slack, validity = self._slack, self._validity
        while slack > 1 and life_s < validity / 2:
            slack, validity = slack / 2, validity / 2
        return slack

    def wake(self, produced_at: int, end: int, not_after: int | None, name: bytes, now: int) -> Wake | None:
        """Return when a record must be visited, or None when a visit at `now` renews it.

        A record that reaches the end of its certificate is never followed by one that lasts longer. It is renewed once
        it is as old as any record may become, unless the certificate has expired soon after, or when its segment is
        visited for another one. Otherwise every certificate would be signed dozens of times on its last day.
        """
        at, slack = renewal_due(produced_at, end, name), self.slack(end - produced_at)
        is_final = not_after is not None and end >= not_after
        if now + slack >= at and not (is_final and now < produced_at + self._slack):
            return None
        return self._final(produced_at, end) if is_final else Wake(at, slack)

    def first_wake(self, now: int, end: int, not_after: int | None, name: bytes) -> Wake:
        """Return the same of a record that is signed now."""
        if not_after is not None and end >= not_after:
            return self._final(now, end)
        return Wake(renewal_due(now, end, name), self.slack(end - now))

    def _final(self, produced_at: int, end: int) -> Wake:
        at = produced_at + LATEST * self._validity
        return Wake(at, self._slack) if end - at > self._validity / 4 else Wake()


def visit_at(wake: Wake, phase: float, now: float) -> float:
    """Return when a segment is visited whose first record is due at `wake`; `phase` (0 to 1) is where its grid begins.

    Never before now, nor in the same second.
    """
    if wake.at == NEVER:
        return NEVER
    begin = phase * wake.slack
    on_grid = (wake.at - begin) // wake.slack * wake.slack + begin
    return max(on_grid, now + 1.0)


def phase_of(issuer_no: int, after: bytes) -> float:
    """Return where the grid of the segment that begins there begins."""
    return zlib.crc32(issuer_no.to_bytes(2, "big") + after) / 2**32
