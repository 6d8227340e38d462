"""Whether the CA signer of this host runs, and for which issuers it cannot sign: in the ledger, for edges and `status`.

Answers go on without it. Certificates, responder certificates and CRLs wait, which is seen long before they run out.
"""

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence

import structlog

from cachewarm.ca.ca_keys import CAKeys
from cachewarm.ca_signer.client import RemoteCAKeys
from cachewarm.errors import SignerUnavailable
from cachewarm.ledger import ca_signer, faults
from cachewarm.ledger.connect import Connection

log = structlog.get_logger("warmer")
INTERVAL_S = 2.0


class CASignerWatch:
    """Looks at the CA signer every two seconds, and keeps its faults in `issuer_faults`; with none there are none."""

    def __init__(self, keys: CAKeys, issuer_faults: MutableMapping[str, Sequence[str]]) -> None:
        self._signer = keys.signer if isinstance(keys, RemoteCAKeys) else None
        self._issuer_faults = issuer_faults
        self._away: str | None = None

    async def run(self, connection: Connection) -> None:
        """Enter the faults of issuers in the ledger whenever they change, until cancelled."""
        known: Mapping[str, str] | None = None
        while True:
            found = await self._faults(connection)
            if found != known:
                await faults.note_faults(connection, faults.CA_SIGNER, found)
                self._issuer_faults[faults.CA_SIGNER] = list(found)
                known = found
            await asyncio.sleep(INTERVAL_S)

    async def _faults(self, connection: Connection) -> Mapping[str, str]:
        if self._signer is None:
            return {}
        try:
            found = await asyncio.to_thread(self._signer.faults)
        except SignerUnavailable as error:
            if self._away is None:
                log.error("CA signer not available", error=str(error))
            self._away = str(error)
            return dict.fromkeys(await ca_signer.ids_with_keys(connection), self._away)
        if self._away is not None:
            log.info("CA signer available again")
            self._away = None
        return found
