"""Edges and their logins: who speaks for which edge, whose polls were refused, whose transactions are overdue."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cachewarm.ledger.connect import Connection, translated


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Polls of `login` in the name of an edge that is not its own; `times` counts one a second at most."""

    login: str
    edge: str
    address: str
    first_at: datetime
    last_at: datetime
    times: int


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """A transaction of an edge or signer that was ended."""

    pid: int
    login: str
    address: str
    since: datetime


async def register_edge(connection: Connection, edge: str, login: str, *, actor: str) -> None:
    """Let that login speak for that edge, from its next poll on. For the ledger's owner; Refused: no such login."""
    with translated():
        await connection.execute("select edge_register($1, $2, $3)", edge, login, actor)


async def remove_edge(connection: Connection, edge: str, *, actor: str) -> str | None:
    """Let no login speak for that edge any more; its last lease is waited for. The login that did, "" for none, or None
    when there is no such edge.
    """
    with translated():
        return await connection.fetchval("select edge_remove($1, $2)", edge, actor)  # type: ignore[no-any-return]


async def lapse(connection: Connection, edge: str, renewals: int) -> bool:
    """Note that the lease has run out, so that waiters need not wait for it; False when it was renewed meanwhile."""
    with translated():
        return await connection.fetchval("select edge_lapse($1, $2)", edge, renewals)  # type: ignore[no-any-return]


async def refusals(connection: Connection) -> list[Refusal]:
    """Whose polls were refused, the latest first."""
    with translated():
        rows = await connection.fetch(
            "select login, edge, address, first_at, last_at, times from poll_refusals order by last_at desc"
        )
    return [Refusal(**dict(row)) for row in rows]


async def end_overdue(connection: Connection, after: timedelta) -> list[Overdue]:
    """End transactions of edges and signers that last longer than that (90 s at least), as they hold back vacuum.

    Refused where the ledger's owner may not signal other sessions (`fastocsp db roles --sql` grants it).
    """
    with translated():
        rows = await connection.fetch("select pid, login, address, since from readers_end_overdue($1)", after)
    return [Overdue(**dict(row)) for row in rows]
