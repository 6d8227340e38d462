"""States of issuers: a frozen one issues no certificates, a removed one is not answered for."""

from cachewarm.errors import Refused
from cachewarm.ledger.connect import Connection, translated

ACTIVE, FROZEN, REMOVED = "active", "frozen", "removed"


async def set_state(connection: Connection, issuer_id: str, state: str, *, actor: str) -> bool:
    """Make the issuer active or frozen, with an audit row. Return False when it is that already; Refused otherwise."""
    with translated():
        former = await connection.fetchval("select issuer_set_state($1, $2, $3)", issuer_id, state, actor)
    if former is None:
        raise Refused(f"there is no issuer {issuer_id!r}")
    return bool(former != state)


async def remove(connection: Connection, issuer_id: str, *, force: bool, actor: str) -> bool:
    """Remove the issuer, with an audit row: nothing is answered, published or signed for it, and its rows stay.

    Return False when it is removed already. Refused when there is none of that id, or when it has valid certificates
    and `force` is not given.
    """
    return await _moved(connection, issuer_id, REMOVED, "select issuer_remove($1, $2, $3)", force, actor)


async def restore(connection: Connection, issuer_id: str, *, actor: str) -> bool:
    """Bring a removed issuer back, frozen, with an audit row. Return False if it is not removed; Refused: no issuer."""
    return not await _moved(connection, issuer_id, REMOVED, "select issuer_restore($1, $2)", actor)


async def _moved(connection: Connection, issuer_id: str, state: str, sql: str, *arguments: object) -> bool:
    with translated():
        former = await connection.fetchval(sql, issuer_id, *arguments)
    if former is None:
        raise Refused(f"there is no issuer {issuer_id!r}")
    return bool(former != state)


async def hold_issuance(connection: Connection, issuer_id: str) -> None:
    """Keep the issuer from being frozen until the transaction ends. Refused when it is not active."""
    with translated():
        await connection.execute("select issuer_require_issuance($1)", issuer_id)
