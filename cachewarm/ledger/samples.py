"""Counts and sample certificates of an issuer, for the quickstart's demo."""

from typing import NamedTuple

from cachewarm.ledger.connect import Connection


class Sample(NamedTuple):
    """A certificate and its serial number; unsigned big-endian bytes without leading zeros."""

    serial_number: bytes
    cert_der: bytes


async def count_certificates(connection: Connection, issuer_id: str) -> int:
    """Return the number of certificates in the issuer's inventory."""
    return int(await connection.fetchval("select count(*) from certificates where issuer_id = $1", issuer_id))


async def count_revocations(connection: Connection, issuer_id: str) -> int:
    """Return the number of the issuer's revocations, holds included."""
    return int(
        await connection.fetchval("select count(*) from certificate_revocations where issuer_id = $1", issuer_id)
    )


async def oldest_good(connection: Connection, issuer_id: str, limit: int) -> list[bytes]:
    """Return up to `limit` serial numbers that are good, the oldest first, without the very first one."""
    rows = await connection.fetch(
        "select serial_number from certificates where issuer_id = $1 and status = 'good' order by created_at,"
        " serial_number offset 1 limit $2",
        issuer_id,
        limit,
    )
    return [row["serial_number"] for row in rows]


async def first_with_status(connection: Connection, issuer_id: str, status: str) -> Sample | None:
    """Return the oldest certificate of that status (`good` or `revoked`); keyCompromise is preferred."""
    row = await connection.fetchrow(
        "select c.serial_number, c.cert_der from certificates c left join certificate_revocations r"
        " using (issuer_id, serial_number) where issuer_id = $1 and status = $2 and cert_der is not null"
        " order by r.reason = 1 desc nulls last, c.created_at, serial_number limit 1",
        issuer_id,
        status,
    )
    return None if row is None else Sample(row["serial_number"], row["cert_der"])
