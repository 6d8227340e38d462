"""What the published CRLs of an issuer say, put together as a client does (RFC 5280 5.2.4, 6.3.3)."""

from collections.abc import Iterable

from cachewarm.crl.parse import ReadCRL, peek_crl
from cachewarm.ledger import crl_parts, crls
from cachewarm.ledger.connect import Connection
from responder.domain.status import CRLReason


async def published(connection: Connection, issuer_id: str = "ca") -> dict[str, ReadCRL]:
    """By name; "" is the complete one."""
    complete = await crls.read_crl(connection, issuer_id)
    parts = await crl_parts.read_parts(connection, issuer_id)
    found = {part: peek_crl(crl.crl_der) for part, crl in parts.items()}
    return found | ({"": peek_crl(complete.crl_der)} if complete else {})


def combined(complete: ReadCRL, delta: ReadCRL) -> dict[bytes, int]:
    """Serial to reason after both; the delta must be usable with that complete CRL."""
    assert delta.base_number is not None
    assert complete.number is not None
    assert delta.number is not None
    assert delta.base_number <= complete.number <= delta.number
    assert (delta.urls, delta.scope, delta.issuer_der) == (complete.urls, complete.scope, complete.issuer_der)
    found = reasons(complete)
    for serial, reason in reasons(delta).items():
        if reason == CRLReason.removeFromCRL:
            found.pop(serial, None)
        else:
            found[serial] = reason
    return found


def reasons(crl: ReadCRL) -> dict[bytes, int]:
    """Serial to reason."""
    return {entry.serial: entry.reason for entry in crl.entries()}


async def revoked(connection: Connection, issuer_id: str = "ca") -> dict[bytes, int]:
    """The same by the ledger."""
    rows = await connection.fetch(
        "select serial_number, reason from certificate_revocations where issuer_id = $1", issuer_id
    )
    return {row["serial_number"]: row["reason"] for row in rows}


def usable(completes: Iterable[ReadCRL], delta: ReadCRL) -> list[ReadCRL]:
    """The complete CRLs that a client may put this delta on."""
    return [each for each in completes if (delta.base_number or 0) <= (each.number or 0) <= (delta.number or 0)]
