"""Rows of `make bench-scale` about the writer: pages of the walk, an idle warmer, new certificates, many issuers.

Inventories are synthetic: rows straight by SQL, with the ledger's triggers off where they would only cost time. Every
function seeds what it needs in a fresh database, measures, and returns rows of (name, goal, value, verdict).
"""

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from cachewarm.ledger.connect import connect
from cachewarm.ledger.inventory import inventory_page
from cachewarm.ledger.issuers import add_issuer

PAGE = 2_000

_CERTIFICATES = """
insert into certificates (issuer_id, serial_number, subject, not_before, not_after, status, entered)
  select $1, '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), '', now() - interval '1 day',
         now() + interval '1 day' + random() * interval '89 days', case when n <= $4 then 'revoked' else 'good' end,
         null
    from generate_series($2::int, $3::int) n"""
_REVOCATIONS = """
insert into certificate_revocations (issuer_id, serial_number, revoked_at, reason)
  select $1, '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15), now() - interval '1 hour', 1
    from generate_series(1, $2::int) n"""


class Row(NamedTuple):
    """One line of the table; `holds` is whether the goal is reached."""

    name: str
    goal: str
    value: str
    holds: bool


async def seed(owner_url: str, issuer_id: str, certificates: int, revoked: int) -> None:
    """Enter that many certificates of an issuer that exists, and revoke the first ones; then collect statistics."""
    owner = await asyncpg.connect(owner_url)
    try:
        for table in ("certificates", "certificate_revocations"):
            await owner.execute(f"alter table {table} disable trigger user")
        for first in range(1, certificates + 1, 250_000):
            await owner.execute(_CERTIFICATES, issuer_id, first, min(first + 249_999, certificates), revoked)
        await owner.execute(_REVOCATIONS, issuer_id, revoked)
        for table in ("certificates", "certificate_revocations"):
            await owner.execute(f"alter table {table} enable trigger user")
            await owner.execute(f"vacuum analyze {table}")
    finally:
        await owner.close()


async def pages(owner_url: str, writer_url: str, certificates: int = 1_000_000, revoked: int = 100_000) -> list[Row]:
    """Time pages of the walk, anywhere in the inventory."""
    connection = await connect(writer_url)
    try:
        await add_issuer(connection, "bench", subject="CN=Bench", cert_der=b"bench", actor="bench")
        await seed(owner_url, "bench", certificates, revoked)
        times = []
        for at in range(40):
            after = bytes([0x5E, at * 6]) + bytes(14)
            begun = time.perf_counter()
            rows = await inventory_page(connection, "bench", after, limit=PAGE)
            times.append(time.perf_counter() - begun)
            assert len(rows) == PAGE
    finally:
        await connection.close()
    worst, usual = max(times) * 1e3, statistics.median(times) * 1e3
    name = f"page of {PAGE} of {certificates} certificates, {revoked} revoked"
    return [Row(name, "<= 30 ms", f"{usual:.1f} ms (worst {worst:.1f} ms)", usual <= 30)]


def show(rows: Sequence[Row]) -> None:
    """Print the rows."""
    for row in rows:
        print(f"{row.name:70} {row.goal:14} {row.value:34} {'holds' if row.holds else 'MISSED'}")
