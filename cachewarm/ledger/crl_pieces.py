"""The bytes of published CRLs, read and written in pieces: one of a million entries has 50 MB.

asyncpg and asyncio copy what they send and receive, some of it three times, so that nothing large travels at once.
"""

import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from cachewarm.errors import Transient
from cachewarm.ledger.connect import Connection, translated

#: Bytes of a CRL that travel at once.
PIECE = 1 << 20
#: What `stage` put together, as SQL.
STAGED = "(select string_agg(piece, '' order by n) from crl_pieces)"


@dataclass(frozen=True)
class StoredCRL:
    """A CRL in the ledger: `part` is "" for the complete one, "delta", or the number of a shard; `size` in bytes."""

    issuer_id: str
    part: str
    crl_number: int
    size: int


async def stored_crls(connection: Connection, issuer_id: str) -> dict[str, StoredCRL]:
    """Return the issuer's CRLs by part, without their bytes."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id, '' as part, crl_number::text as crl_number, octet_length(crl_der) as size
                 from crl_cache where issuer_id = $1
               union all
               select issuer_id, part, crl_number::text, octet_length(crl_der) from crl_parts where issuer_id = $1""",
            issuer_id,
        )
    return {row["part"]: StoredCRL(**dict(row) | {"crl_number": int(row["crl_number"])}) for row in rows}


async def read_range(connection: Connection, stored: StoredCRL, begin: int, end: int) -> bytes:
    """Return the bytes from `begin` to `end` of its DER; Transient when another CRL has replaced it."""
    where, part = ("crl_cache", ()) if stored.part == "" else ("crl_parts", (stored.part,))
    with translated():
        piece: bytes | None = await connection.fetchval(
            f"""select substring(crl_der from $4 for $5) from {where}
                 where issuer_id = $1 and crl_number = $2::text::numeric and octet_length(crl_der) = $3
                   {"and part = $6" if part else ""}""",  # noqa: S608 - our own words
            stored.issuer_id,
            str(stored.crl_number),
            stored.size,
            begin + 1,
            end - begin,
            *part,
        )
    if piece is None:
        raise Transient(f"CRL {stored.crl_number} of {stored.issuer_id} was replaced while it was read")
    return piece


async def read_pieces(connection: Connection, stored: StoredCRL, begin: int, end: int) -> AsyncIterator[bytes]:
    """Yield the same in pieces."""
    for at in range(begin, end, PIECE):
        yield await read_range(connection, stored, at, min(at + PIECE, end))


async def read_whole(connection: Connection, stored: StoredCRL) -> bytes:
    """Return its DER, which is held once; Transient when another CRL has replaced it."""
    whole = io.BytesIO()
    async for piece in read_pieces(connection, stored, 0, stored.size):
        whole.write(piece)
    return whole.getvalue()


async def stage(connection: Connection, der: bytes) -> None:
    """Send the DER in pieces, to be written as STAGED in the same transaction.

    It is stored as it is: to compress what hardly can be would take longer than to send it.
    """
    with translated():
        await connection.execute(
            """create temp table if not exists crl_pieces (n int, piece bytea) on commit drop;
               alter table crl_pieces alter column piece set storage external;
               truncate crl_pieces"""
        )
        await connection.copy_records_to_table("crl_pieces", records=_pieces(der))


def _pieces(der: bytes) -> Iterator[tuple[int, bytes]]:
    for begin in range(0, len(der), PIECE):
        yield begin, der[begin : begin + PIECE]
