"""The warmer's look at fences: it logs once when one is set and once when it is lifted, and counts them for metrics."""

import structlog

from cachewarm.ledger import fences
from cachewarm.ledger.connect import Connection

log = structlog.get_logger("fences")


class FenceWatch:
    """What was logged; one per warmer."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    @property
    def fenced(self) -> int:
        """How many issuers are fenced."""
        return len(self._known)

    async def look(self, connection: Connection) -> None:
        """Log each change."""
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
