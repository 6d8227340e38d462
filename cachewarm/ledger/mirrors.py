"""Mirrored CRLs in the ledger: where they come from, which are here, what they let anybody say."""

from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.connect import Connection, translated


@dataclass(frozen=True)
class Mirror:
    """One row of crl_mirrors, with where the issuer's CRLs come from."""

    issuer_id: str
    crl_source: str
    delta_source: str | None
    crl_number: int | None
    crl_sha256: bytes | None
    this_update: datetime | None
    next_update: datetime | None
    entries: int | None
    etag: str | None
    last_modified: str | None
    delta_url: str | None
    delta_number: int | None
    delta_sha256: bytes | None
    delta_this_update: datetime | None
    delta_next_update: datetime | None
    good_from: datetime | None
    good_until: datetime | None
    kept_live: int
    kept_unknown: int
    tried_at: datetime | None
    failures: int
    served_number: int | None


async def mirrors(connection: Connection, issuer_id: str | None = None) -> list[Mirror]:
    """Every issuer with a source, by id, or that one."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id, i.crl_source, i.delta_source, m.crl_number::text, m.crl_sha256, m.this_update,
                      m.next_update, m.entries, m.etag, m.last_modified, m.delta_url, m.delta_number::text,
                      m.delta_sha256, m.delta_this_update, m.delta_next_update, m.good_from, m.good_until,
                      m.kept_live, m.kept_unknown, m.tried_at, m.failures, c.crl_number::text as served_number
                 from issuers i join crl_mirrors m using (issuer_id) left join crl_cache c using (issuer_id)
                where i.crl_source is not null and ($1::text is null or issuer_id = $1) order by issuer_id""",
            issuer_id,
        )
    numbers = ("crl_number", "delta_number", "served_number")
    return [Mirror(**dict(row) | {name: _int(row[name]) for name in numbers}) for row in rows]


async def note_try(connection: Connection, issuer_id: str, *, failed: bool) -> None:
    """The source was asked a moment ago."""
    with translated():
        await connection.execute(
            """update crl_mirrors set tried_at = now(), failures = case when $2 then failures + 1 else 0 end
                where issuer_id = $1""",
            issuer_id,
            failed,
        )


async def note_source(connection: Connection, issuer_id: str, etag: str | None, last_modified: str | None) -> None:
    """What to ask the source with the next time."""
    with translated():
        await connection.execute(
            "update crl_mirrors set etag = $2, last_modified = $3 where issuer_id = $1", issuer_id, etag, last_modified
        )


def _int(number: str | None) -> int | None:
    return None if number is None else int(number)
