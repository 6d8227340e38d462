"""Mirrored CRLs in the ledger: where they come from, which are here, what they let anybody say."""

from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.connect import Connection, translated


@dataclass(frozen=True)
class Mirror:
    """One row of crl_mirrors, with where the issuer's CRLs come from, and what of them is served; `versions` is another
    one after every write to that.
    """

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
    served_delta: int | None
    versions: str

    @property
    def lacks_delta(self) -> bool:
        """Somebody deleted the delta that belongs to the complete CRL."""
        is_wanted = self.delta_number is not None and (self.delta_source or self.delta_url) is not None
        return is_wanted and self.served_delta is None and (self.delta_number or 0) >= (self.crl_number or 0)


async def mirrors(connection: Connection, issuer_id: str | None = None) -> list[Mirror]:
    """Every issuer with a source, by id, or that one."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id, i.crl_source, i.delta_source, m.crl_number::text, m.crl_sha256, m.this_update,
                      m.next_update, m.entries, m.etag, m.last_modified, m.delta_url, m.delta_number::text,
                      m.delta_sha256, m.delta_this_update, m.delta_next_update, m.good_from, m.good_until,
                      m.kept_live, m.kept_unknown, m.tried_at, m.failures, c.crl_number::text as served_number,
                      p.crl_number::text as served_delta, concat_ws(' ', c.xmin, p.xmin) as versions
                 from issuers i join crl_mirrors m using (issuer_id) left join crl_cache c using (issuer_id)
                 left join crl_parts p using (issuer_id)
                where i.crl_source is not null and ($1::text is null or issuer_id = $1) order by issuer_id""",
            issuer_id,
        )
    numbers = ("crl_number", "delta_number", "served_number", "served_delta")
    return [Mirror(**dict(row) | {name: _int(row[name]) for name in numbers}) for row in rows]


async def drop_damaged(connection: Connection, issuer_id: str) -> bool:
    """Delete what is served and is not, octet for octet, what was mirrored; the next look brings it again."""
    with translated():
        gone = [
            await connection.execute(
                f"""delete from {table} c using crl_mirrors m where c.issuer_id = $1 and m.issuer_id = $1
                     and c.crl_number = m.{which}_number and sha256(c.crl_der) <> m.{which}_sha256""",  # noqa: S608
                issuer_id,
            )
            for table, which in (("crl_cache", "crl"), ("crl_parts", "delta"))
        ]
    return any(not done.endswith(" 0") for done in gone)


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
