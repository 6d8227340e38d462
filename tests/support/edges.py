"""Edges in a test's ledger: one login speaks for all of them, as in no installation."""

from datetime import timedelta
from uuid import UUID

from cachewarm.embedded.postgres import LOGINS
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import connected
from cachewarm.ledger.edges import register_edge

BOOT = UUID(int=7)


async def register(urls: DatabaseURLs, *names: str) -> None:
    """Let the edge's login of that database speak for these names."""
    async with connected(urls.owner) as connection:
        for name in names:
            await register_edge(connection, name, LOGINS["edge"], actor="tests")


async def lease(urls: DatabaseURLs, edge: str, horizon: timedelta) -> None:
    """Register an edge that has a lease once and never acknowledges anything later."""
    await register(urls, edge)
    async with connected(urls.edge) as connection:
        for _ in range(2):
            await connection.execute("select feed_poll($1, $2, $3, 1, 0, sha256(''))", edge, BOOT, horizon)
