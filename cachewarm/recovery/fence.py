"""The warmer's look at fences: it logs once when one is set and once when it is lifted, and counts them for metrics."""

import asyncio
from collections.abc import Iterator

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

from cachewarm.ledger import fences
from cachewarm.ledger.connect import Connection
from cachewarm.orphans.watch import INTERVAL_S, OrphanWatch

log = structlog.get_logger("fences")


class FenceWatch:
    """Fences that were logged; one per warmer."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def metrics(self) -> Iterator[Metric]:
        """How many issuers are fenced, as of the last look."""
        text = "issuers for which nothing but `revoked` is answered, as the ledger may lack revocations"
        yield GaugeMetricFamily("fastocsp_issuers_fenced", text, value=len(self._known))

    async def look(self, connection: Connection) -> None:
        """Log each change of the fences."""
        found = {each.issuer_id: each for each in await fences.open_fences(connection)}
        for issuer_id, fence in found.items():
            if self._known.get(issuer_id) != fence.reason:
                log.error(
                    "fence set",
                    issuer_id=issuer_id,
                    reason=fence.reason,
                    generation=fence.generation,
                    gap_from=fence.gap_from.isoformat(timespec="seconds"),
                    gap_until=fence.gap_until.isoformat(timespec="seconds"),
                    advice="fastocsp reconcile",
                )
        for issuer_id in self._known.keys() - found.keys():
            log.warning("fence lifted", issuer_id=issuer_id)
        self._known = {issuer_id: fence.reason for issuer_id, fence in found.items()}


class LossWatch:
    """The warmer's loop over what the ledger may have lost: orphans and fences."""

    def __init__(self) -> None:
        self.orphans, self.fences = OrphanWatch(), FenceWatch()

    async def run(self, connection: Connection) -> None:
        """Take over what edges report, and alarm once per change, until cancelled."""
        while True:
            await self.orphans.look(connection)
            await self.fences.look(connection)
            await asyncio.sleep(INTERVAL_S)

    def metrics(self) -> Iterator[Metric]:
        """Of fences; edges have those of orphans."""
        return self.fences.metrics()
