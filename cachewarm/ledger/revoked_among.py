"""Which of many serial numbers are revoked."""

from collections.abc import Iterable

from cachewarm.ledger.chunks import chunks
from cachewarm.ledger.connect import Connection, translated


async def revoked_among(connection: Connection, issuer_id: str, serials: Iterable[bytes]) -> list[tuple[bytes, int]]:
    """Return the serial numbers of an issuer that are revoked, with their reasons, in chunks ordered by serial."""
    found: list[tuple[bytes, int]] = []
    for chunk in chunks(serials):
        with translated():
            rows = await connection.fetch(
                """select serial_number, reason from certificate_revocations
                    where issuer_id = $1 and serial_number = any($2) order by serial_number""",
                issuer_id,
                chunk,
            )
        found += [(row["serial_number"], row["reason"]) for row in rows]
    return found
