"""How far a walk of the inventory is, and how long it will take: in the log, and for `fastocsp status`.

The walk calls the meter; a task of its own says every two seconds what it heard, so a walk that is shorter says nothing
and one that stands still says so. The estimate takes the certificates walked per second so far.
"""

import asyncio
import contextlib
import json
import time
from dataclasses import asdict, dataclass

import structlog

from cachewarm.errors import Transient
from cachewarm.records.publisher import Publisher
from cachewarm.warmer.inventory_walk import Count

log = structlog.get_logger("walk")
SAID_EVERY_S = 2.0
#: The note outlives a missed turn, not a dead warmer.
NOTE_KEPT_S = 8


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A walk under way. `share` is None when the inventory was empty, `eta_s` None as long as it cannot be known."""

    inventory: int
    signed: int
    signed_per_s: int
    share: float | None
    eta_s: float | None


def progress_of(count: Count, elapsed_s: float) -> Progress:
    """Return the progress, from what was counted in that many seconds."""
    share = min(1.0, count.inventory / count.total) if count.total else None
    left = max(0, count.total - count.inventory)
    eta = elapsed_s * left / count.inventory if count.inventory and count.total else None
    return Progress(
        inventory=count.inventory,
        signed=count.signed,
        signed_per_s=round(count.signed / max(elapsed_s, 1e-9)),
        share=None if share is None else round(share, 4),
        eta_s=None if eta is None else round(eta, 1),
    )


class Meter:
    """Hears how far the walk that began then is (time.monotonic), and says it."""

    def __init__(self, begun: float) -> None:
        self._begun, self._count = begun, Count()

    def __call__(self, count: Count) -> None:
        """The walk is here."""
        self._count = count

    async def say(self, publisher: Publisher) -> None:
        """Every two seconds, until cancelled; a Redis that does not answer costs the note alone."""
        while True:
            await asyncio.sleep(SAID_EVERY_S)
            said = asdict(progress_of(self._count, time.monotonic() - self._begun))
            log.info("walking", **said)
            with contextlib.suppress(Transient):
                await publisher.show_walk(json.dumps(said), NOTE_KEPT_S)
