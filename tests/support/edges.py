"""Edges in a test's ledger: one login speaks for all of them, as in no installation."""

from cachewarm.embedded.postgres import LOGINS
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import connected
from cachewarm.ledger.edges import register_edge


async def register(urls: DatabaseURLs, *names: str) -> None:
    """Let the edge's login of that database speak for these names."""
    async with connected(urls.owner) as connection:
        for name in names:
            await register_edge(connection, name, LOGINS["edge"], actor="tests")
