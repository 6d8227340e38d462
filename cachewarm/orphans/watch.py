"""The warmer's loop over orphans: takes over what edges reported, and alarms once per change."""

import structlog

from cachewarm.ledger import faults, orphans
from cachewarm.ledger.connect import Connection
from responder.log_limits import ChangeLog

log = structlog.get_logger("orphans")
#: Between two looks.
INTERVAL_S = 0.5


class OrphanWatch:
    """Alarms that were raised; one per warmer."""

    def __init__(self) -> None:
        self._alarmed: dict[str, str] | None = None
        self._refused = ChangeLog()

    async def look(self, connection: Connection) -> None:
        """Take over new reports, enter a fault per issuer with open orphans, log each change."""
        await orphans.settle(connection)
        found = {each.issuer_id: _text(each) for each in await orphans.open_orphans(connection)}
        for reporter in await orphans.refused_reporters(connection):
            text = f"{reporter.refused} reports of edge {reporter.edge} are beyond the limit of one login"
            self._refused.warn("orphan reports refused", reporter.login, text, login=reporter.login, edge=reporter.edge)
        if found == self._alarmed:
            return
        known = self._alarmed or {}
        for issuer_id, text in found.items():
            if known.get(issuer_id) != text:
                log.error("orphans open", issuer_id=issuer_id, orphans=text, advice="fastocsp orphans list")
        for issuer_id in known.keys() - found.keys():
            log.info("orphans decided", issuer_id=issuer_id)
        await faults.note_faults(connection, faults.ORPHANS, found)
        self._alarmed = found


def _text(orphan: orphans.OpenOrphans) -> str:
    return f"{orphan.open} revocations that the ledger lacks, {orphan.in_crl} of them carried in its CRLs"
