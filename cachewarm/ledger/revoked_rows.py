"""The revoked set as rows for an encoder: streamed by COPY, never an object an entry.

An entry stays until it has appeared on one CRL issued after its certificate's end (RFC 5280 3.3): it is left out when
both that end and the time the ledger took the revocation down lie before `expired_before`. A revocation whose
certificate the inventory never saw has no end and stays. So does an orphan: an entry of a published CRL that the ledger
lacks (crl_carried).
"""

from collections.abc import Callable
from datetime import UTC, datetime

from cachewarm.ledger.connect import Connection, translated

#: Before every row of a ledger: nothing has expired.
NOTHING_EXPIRED = datetime(1970, 1, 1, tzinfo=UTC)
COPY_TIMEOUT_S = 600.0
#: With more, Postgres hashes a million revocations instead of the certificates that have expired.
_WORK_MEM = "16MB"
Feed = Callable[[bytes], None]

_ENDS = "greatest(coalesce(c.not_after, 'infinity'), r.created_at)"
_SECONDS = "floor(date_part('epoch', {}))::bigint"
_REVOKED = "certificate_revocations r"
_WITH_CARRIED = """(select issuer_id, serial_number, revoked_at, reason, invalidity_date, created_at
    from certificate_revocations union all
  select issuer_id, serial_number, revoked_at, reason, invalidity_date, 'infinity' from crl_carried) r"""
_ENDED = "left join certificates c using (issuer_id, serial_number)"


async def copy_entries(connection: Connection, issuer_id: str, expired_before: datetime, feed: Feed) -> None:
    """Feed every entry of a complete CRL, as `RowSorter` reads them: in any order, times as they are stored.

    Runs within a transaction of the caller. To sort a million rows, or to convert their times, takes Postgres longer
    than to read them. Certificates that have expired are hashed, and all rows are read in the order of the table.
    """
    source = await _source(connection, issuer_id)
    with translated():
        await connection.execute(
            "set local enable_indexscan = off; set local enable_bitmapscan = off; set local enable_nestloop = off;"
            f"set local work_mem = '{_WORK_MEM}'"
        )
    await _copy(
        connection,
        f"""select r.serial_number, r.revoked_at, r.reason, r.invalidity_date
            from {source} where r.issuer_id = $1 and not exists (
              select from certificates c where c.issuer_id = $1 and c.serial_number = r.serial_number
                and c.not_after < $2::timestamptz and r.created_at < $2::timestamptz)""",  # noqa: S608
        (issuer_id, expired_before),
        feed,
    )
    with translated():
        await connection.execute(
            "set local enable_indexscan = on; set local enable_bitmapscan = on; set local enable_nestloop = on;"
            "set local work_mem to default"
        )


async def count_entries(connection: Connection, issuer_id: str, expired_before: datetime) -> int:
    """How many those are, counted apart from them."""
    with translated():
        return int(
            await connection.fetchval(
                """select (select count(*) from certificate_revocations where issuer_id = $1)
                     + (select count(*) from crl_carried where issuer_id = $1)
                     - (select count(*) from certificates c
                         join certificate_revocations r using (issuer_id, serial_number)
                         where c.issuer_id = $1 and c.not_after < $2 and r.created_at < $2)""",
                issuer_id,
                expired_before,
            )
        )


async def copy_changes(
    connection: Connection,
    issuer_id: str,
    *,
    change_no: int,
    expired_before: tuple[datetime, datetime],
    feed: Feed,
) -> None:
    """Every entry of a delta CRL on a base that had seen `change_no`; `expired_before` is the base's and today's.

    What changed and is listed comes as it is now; what changed or expired and is no longer listed as removeFromCRL,
    whether or not the base had it: a complete CRL between base and delta may have (RFC 5280 5.2.4).
    """
    source = await _source(connection, issuer_id)
    await _copy(
        connection,
        f"""with touched as (
              select serial_number, revoked_at from crl_changes where issuer_id = $1 and change_no > $2
              union all
              select serial_number, revoked_at from crl_carried where issuer_id = $1
              union all
              select r.serial_number, r.revoked_at from {_REVOKED} {_ENDED}
                where $3::timestamptz < $4::timestamptz and r.issuer_id = $1
                  and {_ENDS} >= $3::timestamptz and {_ENDS} < $4::timestamptz),
            once as (select serial_number, max(revoked_at) as revoked_at from touched group by serial_number),
            listed as (select r.* from {source} {_ENDED} join once using (serial_number)
                        where r.issuer_id = $1 and {_ENDS} >= $4::timestamptz)
            select o.serial_number, {_SECONDS.format("coalesce(l.revoked_at, o.revoked_at)")},
              coalesce(l.reason, 8::smallint), {_SECONDS.format("l.invalidity_date")}, null::bytea
            from once o left join listed l using (serial_number) order by o.serial_number""",  # noqa: S608
        (issuer_id, change_no, *expired_before),
        feed,
    )


async def _source(connection: Connection, issuer_id: str) -> str:
    """Where entries come from: the plain table unless there are orphans."""
    with translated():
        carries = await connection.fetchval("select exists (select from crl_carried where issuer_id = $1)", issuer_id)
    return _WITH_CARRIED if carries else _REVOKED


async def last_change(connection: Connection, issuer_id: str) -> int:
    """The number of the last change of the revoked set that is kept; 0 when none is."""
    with translated():
        return int(
            await connection.fetchval(
                "select coalesce(max(change_no), 0) from crl_changes where issuer_id = $1", issuer_id
            )
        )


async def _copy(connection: Connection, sql: str, arguments: tuple[object, ...], feed: Feed) -> None:
    async def read(octets: bytes) -> None:
        feed(octets)

    with translated():
        await connection.copy_from_query(sql, *arguments, output=read, format="binary", timeout=COPY_TIMEOUT_S)
