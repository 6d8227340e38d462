"""Looks after the edges in the ledger: leases that have run out, polls that were refused, transactions that do not end.

What may be judged by time only is judged on this process's monotonic clock; the ledger checks it by its own (0018).
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client.core import CounterMetricFamily, Metric

from cachewarm.errors import Refused
from cachewarm.ledger import edges, feed
from cachewarm.ledger.connect import Connection
from responder.log_limits import ChangeLog

log = structlog.get_logger("warmer")
INTERVAL_S = 2.0
#: A snapshot takes a minute at most; longer transactions of edges and signers are ended.
OVERDUE = timedelta(seconds=120)
#: A warmer that starts tells again of polls refused since then.
FRESH = timedelta(days=1)
#: Of a lease, beyond its horizon: clocks differ by less than 1 %, and edge_lapse wants a second.
DRIFT, MARGIN_S = 1.01, 1.5


@dataclass(frozen=True)
class _Still:
    """Since when, on the monotonic clock, a lease was seen without a renewal."""

    boot: UUID
    renewals: int
    since: float


class EdgeWatch:
    """One look every INTERVAL_S; what it knows is lost with it, and seen again a horizon later."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._still: dict[str, _Still] = {}
        self._refused: dict[str, datetime] = {}
        self._refusals: Sequence[edges.Refusal] = ()
        self._unable = ChangeLog()

    async def run(self, connection: Connection) -> None:
        """Watch the edges until cancelled."""
        while True:
            await self.look(connection)
            await asyncio.sleep(INTERVAL_S)

    async def look(self, connection: Connection) -> None:
        """Read the leases once and log what changed."""
        await self._lapse(connection)
        await self._report_refusals(connection)
        try:
            for gone in await edges.end_overdue(connection, OVERDUE):
                log.error("transaction ended", login=gone.login, address=gone.address, since=str(gone.since))
        except Refused as error:
            self._unable.warn("overdue transactions are not ended", "ledger", str(error))

    def metrics(self) -> Iterator[Metric]:
        """Refused polls as of the last look, by the login that asked; which edge it named is in the log."""
        refused = CounterMetricFamily(
            "fastocsp_polls_refused",
            "polls in the name of an edge that is not the login's own, one a second at most; an attack or a mistake",
            labels=["login"],
        )
        for one in self._refusals:
            refused.add_metric([one.login], one.times)
        yield refused

    async def _lapse(self, connection: Connection) -> None:
        seen = {}
        for lease in await feed.leases(connection):
            if not lease.leased or lease.login is None:
                continue
            now, before = self._monotonic(), self._still.get(lease.edge)
            if before is None or (before.boot, before.renewals) != (lease.boot, lease.renewals):
                before = _Still(lease.boot, lease.renewals, now)
            seen[lease.edge] = before
            over = now - before.since > lease.horizon.total_seconds() * DRIFT + MARGIN_S
            if over and await edges.lapse(connection, lease.edge, lease.renewals):
                log.warning("edge is away", edge=lease.edge, asked_at=str(lease.at))
        self._still = seen

    async def _report_refusals(self, connection: Connection) -> None:
        """Each login once, and again when it goes on after a quiet minute."""
        self._refusals = await edges.refusals(connection)
        for one in self._refusals:
            before = self._refused.get(one.login)
            self._refused[one.login] = one.last_at
            if before is None and datetime.now(UTC) - one.last_at > FRESH:
                continue
            if before is None or one.last_at - before > timedelta(minutes=1):
                log.error("poll refused", login=one.login, edge=one.edge, address=one.address, times=one.times)
