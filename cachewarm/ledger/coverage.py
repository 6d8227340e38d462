"""How much of each issuer's inventory has a pre-signed answer, as the warmer last counted."""

from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.connect import Connection, translated


@dataclass(frozen=True)
class Coverage:
    """Certificates that could have a pre-signed answer, and those that do."""

    issuer_id: str
    inventory: int
    covered: int
    at: datetime


async def write_coverage(connection: Connection, issuer_id: str, inventory: int, covered: int) -> None:
    """Replace the issuer's row."""
    with translated():
        await connection.execute(
            """insert into presign_coverage (issuer_id, inventory, covered) values ($1, $2, $3)
               on conflict (issuer_id) do update
                 set inventory = excluded.inventory, covered = excluded.covered, at = now()""",
            issuer_id,
            inventory,
            covered,
        )


async def read_coverage(connection: Connection) -> list[Coverage]:
    """Every issuer's row, by issuer."""
    with translated():
        rows = await connection.fetch(
            "select issuer_id, inventory, covered, at from presign_coverage order by issuer_id"
        )
    return [Coverage(*row.values()) for row in rows]
