"""Revoking many certificates of one issuer, in chunks, and waiting once for all of them.

Every chunk is a transaction of its own: a command that was killed is run again, and what was done is skipped.
The word of the edges is for the last chunk's position, so for every one before it too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cachewarm.errors import Refused
from cachewarm.ledger import revocations
from cachewarm.ledger.connect import OutcomeUnknown, Queries, lent
from cachewarm.ledger.holders import watched
from cachewarm.ledger.issuers import require_issuer
from cachewarm.revocation.confirmation import NO_WAIT, Confirmation, Outcome, Waiting, confirm
from responder.domain.serial import parse_serial, serial_hex
from responder.domain.status import CRLReason


@dataclass(frozen=True)
class BulkOutcome:
    """Result in the ledger, None when that is unknown, and the confirmation by the edges."""

    issuer_id: str
    result: revocations.BulkResult | None
    waited: Confirmation

    def facts(self) -> dict[str, Any]:
        """Return the fields that API and command show."""
        result, waited = self.result, self.waited
        return {
            "result": waited.outcome.value,
            "issuer_id": self.issuer_id,
            "asked": result.asked if result else None,
            "changed": result.changed if result else None,
            "unknown": [serial_hex(serial) for serial in result.unknown] if result else None,
            "generation": result.generation if result else None,
            "seq": result.seq if result else None,
            "until": waited.until.isoformat() if waited.until else None,
            "edges": list(waited.edges),
            "waited_ms": round(waited.waited_s * 1000, 1),
        }


def parse_serials(texts: Iterable[str]) -> list[bytes]:
    """Serial numbers, each once, in order; Refused names every text that is none by its place, counted from 1."""
    serials: dict[bytes, None] = {}
    wrong = []
    for place, text in enumerate(texts, 1):
        try:
            serials[parse_serial(text)] = None
        except ValueError as error:
            wrong.append(f"{place}: {error}")
    if wrong:
        raise Refused("\n".join([*wrong[:50], f"{len(wrong)} serial numbers cannot be read: nothing was revoked"]))
    return list(serials)


async def revoke_many(
    ledger: Queries,
    issuer_id: str,
    serials: Sequence[bytes],
    *,
    reason: CRLReason,
    actor: str,
    waiting: Waiting = NO_WAIT,
    progress: Callable[[int], None] | None = None,
) -> BulkOutcome:
    """Revoke them all; those that the inventory does not know are left alone and named."""
    wanted = (revocations.Revocation(serial, reason) for serial in sorted(serials))  # neighbours share index pages
    try:
        async with lent(ledger) as connection, watched(connection, waiting.holders):
            issuer_id = (await require_issuer(connection, issuer_id)).issuer_id
            result = await revocations.bulk_revoke(connection, issuer_id, wanted, actor=actor, progress=progress)
    except OutcomeUnknown:
        return BulkOutcome(issuer_id, None, Confirmation(Outcome.UNKNOWN))
    unknown = set(result.unknown)
    known = sorted(set(serials) - unknown)
    result = result._replace(unknown=tuple(serial for serial in serials if serial in unknown))
    questions = waiting.ledger or ledger

    async def still_so() -> bool:
        return await revocations.count_revoked(questions, issuer_id, known) == len(known)

    confirmed = await confirm(questions, result.generation, result.seq, waiting, still_so)
    return BulkOutcome(issuer_id, result, confirmed)
