"""States of issuers: a frozen one issues no certificates, while its answers and CRLs go on."""

from cachewarm.errors import Refused
from cachewarm.ledger.connect import Connection, translated

ACTIVE, FROZEN = "active", "frozen"


async def set_state(connection: Connection, issuer_id: str, state: str, *, actor: str) -> bool:
    """Make the issuer active or frozen, with an audit row. Return False when it is that already; Refused otherwise."""
    with translated():
        former = await connection.fetchval("select issuer_set_state($1, $2, $3)", issuer_id, state, actor)
    if former is None:
        raise Refused(f"there is no issuer {issuer_id!r}")
    return bool(former != state)


async def hold_issuance(connection: Connection, issuer_id: str) -> None:
    """Keep the issuer from being frozen until the transaction ends. Refused when it is not active."""
    with translated():
        await connection.execute("select issuer_require_issuance($1)", issuer_id)
