"""Enter work that fails for an issuer in the ledger, for edges and `status`, and log it once per change."""

from collections.abc import Mapping
from types import MappingProxyType

import structlog

from cachewarm.ledger import faults
from cachewarm.ledger.connect import Connection

log = structlog.get_logger("warmer")
_NO_ERRORS: Mapping[str, Exception] = MappingProxyType({})


async def report_faults(
    connection: Connection,
    work: str,
    known: dict[str, str],
    found: dict[str, str],
    errors: Mapping[str, Exception] = _NO_ERRORS,
) -> dict[str, str]:
    """Enter the faults of that work by issuer, and log each once per change; return them, for the next round."""
    for issuer_id, fault in found.items():
        if known.get(issuer_id) != fault:
            log.error(f"{work} failed", issuer_id=issuer_id, fault=fault, exc_info=errors.get(issuer_id))
    for issuer_id in known.keys() - found.keys():
        log.info(f"{work} works again", issuer_id=issuer_id)
    if known or found:
        await faults.note_faults(connection, work, found)
    return found
