"""How much of each issuer's inventory has a pre-signed answer, as the warmer last counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.connect import Connection, translated

#: Changes that one call of `fold_counts` folds at most.
FOLDED_AT_ONCE = 100_000


@dataclass(frozen=True)
class Coverage:
    """Certificates that could have a pre-signed answer, and those that do."""

    issuer_id: str
    inventory: int
    covered: int
    at: datetime


async def write_coverage(connection: Connection, counted: Mapping[str, tuple[int, int]]) -> None:
    """Replace the rows of these issuers by (inventory, covered); ids without an issuer are left out."""
    with translated():
        await connection.execute(
            """insert into presign_coverage (issuer_id, inventory, covered)
                 select n.* from unnest($1::text[], $2::bigint[], $3::bigint[]) n(issuer_id, inventory, covered)
                   where exists (select from issuers i where i.issuer_id = n.issuer_id) order by 1
               on conflict (issuer_id) do update
                 set inventory = excluded.inventory, covered = excluded.covered, at = now()""",
            list(counted),
            [inventory for inventory, _ in counted.values()],
            [covered for _, covered in counted.values()],
        )


async def read_coverage(connection: Connection) -> list[Coverage]:
    """Every issuer's row, by issuer."""
    with translated():
        rows = await connection.fetch(
            "select issuer_id, inventory, covered, at from presign_coverage order by issuer_id"
        )
    return [Coverage(*row.values()) for row in rows]


async def fold_counts(connection: Connection) -> int:
    """Fold what writers of certificates have appended into the counts; return how many changes that were."""
    with translated():
        return int(await connection.fetchval("select certificate_counts_fold()"))


async def read_unexpired(connection: Connection) -> dict[str, int]:
    """Return how many certificates of each issuer have not expired, to four hours; issuers without any are left out."""
    with translated():
        rows = await connection.fetch("select issuer_id, unexpired from certificate_inventory")
    return {row["issuer_id"]: row["unexpired"] for row in rows}
