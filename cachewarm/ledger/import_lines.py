"""Lines of another CA's inventory in a temporary table of the session, and their way into the ledger, page by page.

Pages go by serial number: neighbours share index pages, and no process holds more than one page. The caller chooses the
transactions (importer/import_index.py).
"""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from struct import pack
from typing import NamedTuple

import asyncpg

from cachewarm.ledger.chunks import CHUNK
from cachewarm.ledger.connect import Connection, one_row, translated
from cachewarm.ledger.revocations import REVOKE_CHUNK, Revocation
from responder.domain.status import CRLReason

_COPY_TIMEOUT_S = 3600.0
#: A million lines are about three times this.
_SORT_MEM = "32MB"
_COLUMNS = """line int8 not null, serial_number bytea not null, subject text not null, not_after int8 not null,
  is_good bool not null, revoked_at int8, reason int2, invalidity_date int8"""


class ImportLine(NamedTuple):
    """One certificate; times in epoch seconds, the last three None unless it is revoked. The order is the table's."""

    line: int
    serial_number: bytes
    subject: str
    not_after: int
    is_good: bool
    revoked_at: int | None
    reason: int | None
    invalidity_date: int | None


class UnfitLine(NamedTuple):
    """A line whose serial number is in `first_line` already, or with a revocation time out of range."""

    line: int
    serial_number: bytes
    first_line: int
    revoked_at: int | None


def row(line: ImportLine) -> bytes:
    """Return the line as a row of the binary stream that `copy_lines` reads."""
    columns = (
        pack(">q", line.line),
        line.serial_number,
        line.subject.encode(),
        pack(">q", line.not_after),
        pack(">?", line.is_good),
        None if line.revoked_at is None else pack(">q", line.revoked_at),
        None if line.reason is None else pack(">h", line.reason),
        None if line.invalidity_date is None else pack(">q", line.invalidity_date),
    )
    return pack(">h", len(columns)) + b"".join(map(_column, columns))


def _column(octets: bytes | None) -> bytes:
    return pack(">i", -1) if octets is None else pack(">i", len(octets)) + octets


async def copy_lines(connection: Connection, rows: Iterable[bytes]) -> bool:
    """Put the rows into the session's table, as they are read; False when a serial number is there twice.

    `rows` are the rows of a binary COPY in pieces, without its head and end. The table is sorted by serial number,
    so that a page of it is read from neighbouring blocks.
    """
    with translated():
        await connection.execute(
            f"""drop table if exists pg_temp.import_lines, pg_temp.read_lines;
               create temp table read_lines ({_COLUMNS})"""
        )
        await connection.copy_to_table("read_lines", source=_stream(rows), format="binary", timeout=_COPY_TIMEOUT_S)
        async with connection.transaction():
            await connection.execute(f"set local work_mem = '{_SORT_MEM}'")
            await connection.execute(
                "create temp table import_lines as select * from read_lines order by serial_number",
                timeout=_COPY_TIMEOUT_S,
            )
        await connection.execute("drop table read_lines")
        try:
            await connection.execute(
                "create unique index on import_lines (serial_number) include (line)", timeout=_COPY_TIMEOUT_S
            )
        except asyncpg.UniqueViolationError:
            return False
        await connection.execute("analyze import_lines")
    return True


async def _stream(rows: Iterable[bytes]) -> AsyncIterator[bytes]:
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for piece in rows:
        yield piece
    yield b"\xff\xff"


async def unfit_lines(connection: Connection, latest: int, limit: int) -> tuple[int, list[UnfitLine]]:
    """Return how many lines repeat a serial number or are revoked before 1970 or after `latest`, and the first ones."""
    with translated():
        rows = await connection.fetch(
            """select count(*) over () as n, line, serial_number, first_line, revoked_at
                 from (select line, serial_number, revoked_at, min(line) over (partition by serial_number) as first_line
                         from import_lines) l
                where line <> first_line or revoked_at not between 0 and $1 order by line limit $2""",
            latest,
            limit,
            timeout=_COPY_TIMEOUT_S,
        )
    found = [UnfitLine(row["line"], row["serial_number"], row["first_line"], row["revoked_at"]) for row in rows]
    return (rows[0]["n"] if rows else 0), found


async def add_page(
    connection: Connection, issuer_id: str, earliest: datetime, after_serial: bytes
) -> tuple[int, int, bytes]:
    """Enter the next certificates above that serial number; those that are there stay as they are.

    Return how many were in the page, how many were new, and the last serial number. `earliest` is their notBefore,
    unless they expired before it.
    """
    with translated():
        row = await one_row(
            connection,
            """with page as materialized (
                 select serial_number, subject, to_timestamp(not_after) as not_after from import_lines
                  where serial_number > $3 order by serial_number limit $4),
               added as (
                 insert into certificates (issuer_id, serial_number, subject, not_before, not_after)
                   select $1, serial_number, subject, least($2, not_after), not_after from page order by serial_number
                   on conflict do nothing returning 1)
               select (select count(*) from page) as n, (select count(*) from added) as new,
                      (select serial_number from page order by serial_number desc limit 1) as last""",
            issuer_id,
            earliest,
            after_serial,
            CHUNK,
        )
        if not row["n"]:
            return 0, 0, after_serial
        await connection.execute(
            """select certificates_settle($1, array(
                 select serial_number from import_lines where serial_number > $2 and serial_number <= $3))""",
            issuer_id,
            after_serial,
            row["last"],
        )
    return row["n"], row["new"], row["last"]


async def revoked_pages(connection: Connection, latest: int, dates: tuple[int, int]) -> AsyncIterator[list[Revocation]]:
    """Yield the revocations among the lines, a page each.

    Times after `latest` are `latest`; invalidity dates out of the range `dates` are left out.
    """
    last = b""
    while True:
        with translated():
            rows = await connection.fetch(
                """select serial_number, least(revoked_at, $2) as revoked_at, reason,
                          case when invalidity_date between $3 and $4 then invalidity_date end as invalidity_date
                     from import_lines where serial_number > $1 and revoked_at is not null
                    order by serial_number limit $5""",
                last,
                latest,
                *dates,
                REVOKE_CHUNK,
            )
        if not rows:
            return
        yield [_revocation(row) for row in rows]
        last = rows[-1]["serial_number"]


def _revocation(row: asyncpg.Record) -> Revocation:
    since = row["invalidity_date"]
    return Revocation(
        row["serial_number"],
        CRLReason(row["reason"]),
        datetime.fromtimestamp(row["revoked_at"], UTC),
        None if since is None else datetime.fromtimestamp(since, UTC),
    )


async def good_but_revoked(connection: Connection, issuer_id: str) -> list[tuple[bytes, int]]:
    """Return the serial numbers that are good in the lines and revoked in the ledger, with their reasons, in order."""
    with translated():
        rows = await connection.fetch(
            """select serial_number, r.reason from import_lines l join certificate_revocations r using (serial_number)
                where r.issuer_id = $1 and l.is_good order by serial_number""",
            issuer_id,
            timeout=_COPY_TIMEOUT_S,
        )
    return [(row["serial_number"], row["reason"]) for row in rows]
