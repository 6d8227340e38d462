"""Read the inventory for an edge: its size, samples, and the health of the warmers.

Every query costs the same with ten issuers as with ten thousand, but for the count, which is one row per issuer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from responder.feed.poll import Connection

#: A reading that takes longer is given up, and its connection with it.
TIMEOUT_S = 5.0
#: Seconds after which a warmer, which writes its heartbeat every five, is missed.
QUIET_S = 30.0


class SampledCertificate(NamedTuple):
    """A row of the inventory; `not_after` in epoch seconds."""

    issuer_id: str
    serial_number: bytes
    not_after: float


@dataclass(frozen=True, kw_only=True)
class WarmerHealth:
    """Report of one warmer, `age_s` seconds old by the ledger's clock; see cachewarm.ledger.heartbeats."""

    age_s: float
    walk_age_s: float | None
    queue: int
    rotation_failures: int
    missing: int | None
    failing: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


async def read_unexpired(connection: "Connection") -> dict[str, int]:
    """Return how many certificates of each issuer have not expired, to four hours; issuers without any are left out."""
    rows = await connection.fetch("select issuer_id, unexpired from certificate_inventory", timeout=TIMEOUT_S)
    return {row["issuer_id"]: row["unexpired"] for row in rows}


async def read_warmers(connection: "Connection") -> list[WarmerHealth]:
    """Return the warmers of the last day, the one heard of last first."""
    rows = await connection.fetch(
        "select age_s, walk_age_s, queue, rotation_failures, missing, failing from warmer_health order by age_s",
        timeout=TIMEOUT_S,
    )
    return [WarmerHealth(**dict(row)) for row in rows]


async def draw_certificates(connection: "Connection", blocks: int) -> list[SampledCertificate]:
    """Return at most one certificate from each of `blocks` blocks of the table, drawn by lot, expired ones too."""
    rows = await connection.fetch(
        "select issuer_id, serial_number, date_part('epoch', not_after) from certificate_sample($1)",
        blocks,
        timeout=TIMEOUT_S,
    )
    return [SampledCertificate(*row) for row in rows]


async def next_certificates(
    connection: "Connection", after: Mapping[str, bytes], at_most: int
) -> dict[str, list[SampledCertificate]]:
    """Return for each issuer id its next certificates above that serial number, at most `at_most`, expired ones too."""
    rows = await connection.fetch(_NEXT, list(after), list(after.values()), at_most, timeout=TIMEOUT_S)
    return _by_issuer([SampledCertificate(*row) for row in rows], after)


_NEXT = """
select w.issuer_id, c.serial_number, date_part('epoch', c.not_after)
  from unnest($1::text[], $2::bytea[]) w(issuer_id, after)
 cross join lateral (select serial_number, not_after from certificates c
                      where c.issuer_id = w.issuer_id and c.serial_number > w.after
                      order by c.serial_number limit $3) c"""


def _by_issuer(
    rows: Sequence[SampledCertificate], issuer_ids: Mapping[str, bytes]
) -> dict[str, list[SampledCertificate]]:
    found: dict[str, list[SampledCertificate]] = {issuer_id: [] for issuer_id in issuer_ids}
    for row in rows:
        found[row.issuer_id].append(row)
    return found
