"""The CRL that this edge serves, sent to a ledger that lost revocations: its issuer signed it, so it proves them."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import asyncpg
import structlog

from responder.domain.catalog import Catalog, CRLEntry
from responder.feed.poll import Connection

log = structlog.get_logger("feed")
SEND_TIMEOUT_S = 60.0
#: Attempts per CRL: a ledger that does not take it has no report of this edge, or another CRL within the minute.
ATTEMPTS = 70
_IN_LEDGER = "select encode(sha256(crl_der), 'hex') from crl_cache where issuer_id = $1"


class CRLEvidence:
    """Sends each CRL once."""

    def __init__(self, folder: Path, edge: str) -> None:
        self._folder, self._edge = folder, edge
        self._left: dict[tuple[int, str], int] = {}

    async def send(self, connection: Connection, catalog: Catalog, issuer_nos: Iterable[int]) -> None:
        """Send the CRLs of these issuers that the ledger does not have itself."""
        for issuer_no in sorted(set(issuer_nos)):
            issuer = catalog.by_no.get(issuer_no)
            entry = catalog.crls.get(issuer.issuer_id) if issuer is not None else None
            if issuer is None or entry is None or self._left.get((issuer_no, entry.sha256), 1) <= 0:
                continue
            is_done = await connection.fetchval(_IN_LEDGER, issuer.issuer_id) == entry.sha256
            if is_done or await self._sent(connection, issuer_no, entry):
                self._left[issuer_no, entry.sha256] = 0

    async def _sent(self, connection: Connection, issuer_no: int, entry: CRLEntry) -> bool:
        self._left[issuer_no, entry.sha256] = self._left.get((issuer_no, entry.sha256), ATTEMPTS) - 1
        try:
            der = await asyncio.to_thread((self._folder / entry.file).read_bytes)
            taken = await connection.fetchval(
                "select feed_report_crl($1, $2, $3)", self._edge, issuer_no, der, timeout=SEND_TIMEOUT_S
            )
        except (OSError, asyncpg.PostgresError) as error:
            log.warning("CRL not reported", file=entry.file, error=str(error))
            return not isinstance(error, asyncpg.PostgresConnectionError)
        if taken:
            log.info("CRL reported", file=entry.file, number=entry.number)
        return bool(taken)
