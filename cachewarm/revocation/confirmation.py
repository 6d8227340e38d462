"""Waiting until no edge can answer `good` any more: CONFIRMED, BOUNDED or UNKNOWN (coherence, "revoke --wait").

The timer starts after COMMIT returned and is this process's own monotonic clock. Every poll that was under way shows in
feed_unacked: its edge's row was there before it began (0018). When a horizon and its margin have passed since the
commit, no lease that was given before it can still stand: that confirms without knowing any edge.
"""

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cachewarm.ledger import feed
from cachewarm.ledger.connect import Queries
from cachewarm.ledger.holders import HolderWatch

#: Clock rates differ by less than 1 %, and a poll's answer may be this late.
DRIFT, SLACK_S = 1.01, 0.05
#: No edge is faster: the first question about them is asked after so long.
_FIRST_S = 0.003
#: Between two tries a quarter of what was waited already, within these.
_PAUSE_S = (0.001, 0.05)
#: Between two tries while somebody holds the head of a ledger that was promoted or restored.
_HELD_PAUSE_S = 0.3
#: In the place of the edges that have not acknowledged, while that is so.
HELD = "(the ledger's head is held, and no generation can begin)"


class Outcome(enum.StrEnum):
    """CONFIRMED: no edge answers `good` to a request begun after now. BOUNDED: not after `until`. UNKNOWN: it may not
    even be in the ledger; repeat it.
    """

    CONFIRMED = "CONFIRMED"
    BOUNDED = "BOUNDED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Confirmation:
    """How it ended; `until` is when the bound falls, `edges` are those that have not acknowledged."""

    outcome: Outcome
    until: datetime | None = None
    edges: tuple[str, ...] = ()
    waited_s: float = field(default=0.0, compare=False)


class Waiting(NamedTuple):
    """Whether to wait for the edges, for how long at most (None: the bound), and on which connections, if not the same.

    A pool of their own keeps those who wait from holding up those who revoke. `holders`: what to do when somebody holds
    the ledger.
    """

    wait: bool = False
    patience_s: float | None = None
    ledger: Queries | None = None
    holders: HolderWatch | None = None


NO_WAIT = Waiting()


async def confirm(
    ledger: Queries, generation: int, seq: int, waiting: Waiting, still_so: Callable[[], Awaitable[bool]]
) -> Confirmation:
    """Return what the edges acknowledged of a change that was committed just now, after waiting where that is asked."""
    committed = time.monotonic()
    if not waiting.wait:
        return await bound_only(ledger, generation, seq, committed=committed)
    return await wait_for_edges(
        ledger, generation, seq, committed=committed, patience_s=waiting.patience_s, still_so=still_so
    )


async def wait_for_edges(
    connection: Queries,
    generation: int,
    seq: int,
    *,
    committed: float,
    patience_s: float | None,
    still_so: Callable[[], Awaitable[bool]],
) -> Confirmation:
    """Wait for everyone's acknowledgement of (generation, seq), which was committed at `committed` (time.monotonic).

    `patience_s` None waits to the bound. When the generation changes meanwhile (failover, restore), `still_so` is asked
    whether the ledger still has it; UNKNOWN when it has not.
    """
    bound, behind = None, False
    if patience_s != 0:
        await asyncio.sleep(_FIRST_S)
    while True:
        lagging = await feed.unacked(connection, generation, seq)
        if bound is None or not behind:  # a lease with a longer horizon that was under way counts, once it is there
            bound = committed + (await feed.feed_horizon(connection)).total_seconds() * DRIFT + SLACK_S
        behind = behind or lagging is not None
        now = time.monotonic()
        if lagging == [] or (behind and now >= bound):
            break
        if patience_s is not None and now >= committed + patience_s:
            edges = (HELD,) if lagging is None else tuple(lease.edge for lease in lagging)
            return _bounded(bound, now, committed, edges)
        pause = min(max((now - committed) / 4, _PAUSE_S[0]), _PAUSE_S[1])
        await asyncio.sleep(_HELD_PAUSE_S if lagging is None else pause)
    position = await feed.feed_position(connection)
    if position.generation == generation:
        return Confirmation(Outcome.CONFIRMED, waited_s=time.monotonic() - committed)
    if not await still_so():
        return Confirmation(Outcome.UNKNOWN, waited_s=time.monotonic() - committed)
    return await wait_for_edges(
        connection,
        position.generation,
        position.seq,
        committed=time.monotonic(),
        patience_s=patience_s,
        still_so=still_so,
    )


async def bound_only(connection: Queries, generation: int, seq: int, *, committed: float) -> Confirmation:
    """Without waiting: CONFIRMED when everyone has it already, else by when they will."""

    async def believed() -> bool:
        return True

    return await wait_for_edges(connection, generation, seq, committed=committed, patience_s=0.0, still_so=believed)


def _bounded(bound: float, now: float, committed: float, edges: tuple[str, ...]) -> Confirmation:
    until = datetime.now(UTC) + timedelta(seconds=bound - now)
    return Confirmation(Outcome.BOUNDED, until, edges, now - committed)
