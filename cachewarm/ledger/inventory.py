"""The inventory: which certificates were issued, walked in key order, looked up by serial number."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from cachewarm.errors import Refused
from cachewarm.ledger.chunks import CHUNK, chunks
from cachewarm.ledger.connect import Connection, Queries, translated
from responder.domain.serial import serial_hex

#: Behind every serial number.
LAST = b"\xff" * 21
#: One page of one issuer's inventory. Both tables are read by their keys, in order, and no further than the page.
PAGE_QUERY = """
select serial_number, floor(extract(epoch from max(not_after)))::int8 from (
  (select serial_number, not_after from certificates
    where issuer_id = $1 and serial_number > $2 and serial_number <= $3 order by serial_number limit $4)
  union all
  (select serial_number, null from certificate_revocations
    where issuer_id = $1 and serial_number > $2 and serial_number <= $3 order by serial_number limit $4)
) either group by serial_number order by serial_number limit $4"""


class NewCertificate(NamedTuple):
    """Columns of a certificate that is entered."""

    serial_number: bytes
    not_before: datetime
    not_after: datetime
    subject: str = ""
    cert_der: bytes | None = None


class Certificate(NamedTuple):
    """A row of the inventory, with its revocation if there is one."""

    issuer_id: str
    serial_number: bytes
    subject: str
    not_before: datetime
    not_after: datetime
    status: str
    cert_der: bytes | None
    created_at: datetime
    revoked_at: datetime | None
    reason: int | None
    invalidity_date: datetime | None
    revoked_by: str | None


class InventoryRow(NamedTuple):
    """One certificate for the warmer's walk; `not_after` is in epoch seconds, rounded down.

    It is None for a revoked certificate that the inventory never saw.
    """

    serial_number: bytes
    not_after: int | None


class IssuedStatus(NamedTuple):
    """The signer's view of a certificate: that it was issued, until when it is valid, and its status."""

    not_after: datetime
    status: str


async def add_certificates(
    connection: Connection,
    issuer_id: str,
    certificates: Iterable[NewCertificate],
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Enter certificates, a transaction per chunk; how many were new. Those already there stay as they are."""
    new = 0
    for chunk in chunks(certificates):
        serials = [one.serial_number for one in chunk]
        with translated():
            new += await connection.fetchval(
                """with added as (
                     insert into certificates (issuer_id, serial_number, subject, not_before, not_after, cert_der)
                     select $1, *
                       from unnest($2::bytea[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bytea[])
                     on conflict do nothing returning 1)
                   select count(*) from added""",
                issuer_id,
                serials,
                [one.subject for one in chunk],
                [one.not_before for one in chunk],
                [one.not_after for one in chunk],
                [one.cert_der for one in chunk],
            )
            await connection.execute("select certificates_settle($1, $2)", issuer_id, serials)
        if progress:
            progress(len(chunk))
    return new


async def get_certificate(connection: Queries, issuer_id: str, serial_number: bytes) -> Certificate | None:
    """The certificate of that issuer and serial number."""
    with translated():
        row = await connection.fetchrow(
            """select c.issuer_id, c.serial_number, c.subject, c.not_before, c.not_after, c.status, c.cert_der,
                      c.created_at,
                      r.revoked_at, r.reason, r.invalidity_date, r.revoked_by
                 from certificates c left join certificate_revocations r using (issuer_id, serial_number)
                where c.issuer_id = $1 and c.serial_number = $2""",
            issuer_id,
            serial_number,
        )
    return Certificate(**dict(row)) if row else None


async def find_issuers_of(connection: Connection, serial_number: bytes) -> list[str]:
    """Ids of the issuers that issued, or revoked, a certificate with that serial number."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id from issuers i
                where exists (select from certificates c where (c.issuer_id, c.serial_number) = (i.issuer_id, $1))
                   or exists (select from certificate_revocations r
                               where (r.issuer_id, r.serial_number) = (i.issuer_id, $1))
                order by issuer_id""",
            serial_number,
        )
    return [row["issuer_id"] for row in rows]


async def find_issuer_of(connection: Connection, serial_number: bytes) -> str:
    """The one issuer of that serial number; Refused when there is none, or more than one."""
    found = await find_issuers_of(connection, serial_number)
    if len(found) != 1:
        owners = " and ".join(found) or "no issuer we know"
        raise Refused(f"serial number {serial_hex(serial_number)} belongs to {owners}: name the issuer")
    return found[0]


async def inventory_page(
    connection: Connection, issuer_id: str, after_serial: bytes = b"", until_serial: bytes = LAST, limit: int = CHUNK
) -> list[InventoryRow]:
    """Return the next rows of the walk between two serials, by their bytes: issued or revoked, expired ones too.

    `after_serial` is excluded, `until_serial` included. Fewer than `limit` rows: these were the last ones. What a page
    costs does not depend on how much is revoked or on how much the inventory has.
    """
    with translated():
        rows = await connection.fetch(PAGE_QUERY, issuer_id, after_serial, until_serial, limit)
    return [InventoryRow(*row) for row in rows]


async def estimated_certificates(connection: Connection) -> int:
    """Return about how many were issued, expired ones too, by the ledger's own statistics; 0 where it has none."""
    with translated():
        counted = await connection.fetchval(
            "select reltuples::bigint from pg_class where oid = 'certificates'::regclass"
        )
    return max(0, int(counted))


async def statuses(
    connection: Connection, issuer_no: int, serial_numbers: Sequence[bytes]
) -> dict[bytes, IssuedStatus]:
    """Those of the serial numbers that were issued. The reader role may ask; who is revoked, the feed knows better."""
    with translated():
        rows = await connection.fetch(
            """select c.serial_number, c.not_after, c.status from certificates c
                where c.issuer_id = (select issuer_id from issuers where issuer_no = $1)
                  and c.serial_number = any($2)""",
            issuer_no,
            list(serial_numbers),
        )
    return {row["serial_number"]: IssuedStatus(row["not_after"], row["status"]) for row in rows}
