"""Mirrored CRLs in the ledger: where they come from, which are here, and how the last attempts went."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from cachewarm.ledger.connect import Connection, translated


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """One issuer with a CRL source: where its CRLs come from, which are here, and which are served.

    `is_waiting`: no CRL of the source was taken since the issuer got it, so its status does not come from there yet.
    `versions` changes with every write to what is served.
    """

    issuer_id: str
    crl_source: str
    delta_source: str | None
    is_waiting: bool
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
    skipped: int
    remarks: str | None
    tried_at: datetime | None
    failures: int
    served_number: int | None
    served_delta: int | None
    versions: str

    @property
    def lacks_delta(self) -> bool:
        """Whether the delta that belongs to the complete CRL was deleted."""
        is_wanted = self.delta_number is not None and (self.delta_source or self.delta_url) is not None
        return is_wanted and self.served_delta is None and (self.delta_number or 0) >= (self.crl_number or 0)

    @property
    def is_served(self) -> bool:
        """Whether the complete CRL that was mirrored last is the one that is served."""
        return self.crl_number is not None and self.served_number == self.crl_number


async def mirrors(
    connection: Connection, issuer_id: str | None = None, *, among: Collection[str] | None = None
) -> list[Mirror]:
    """Return every issuer with a source, by id, or that one, or those of these ids."""
    with translated():
        rows = await connection.fetch(
            """select issuer_id, i.crl_source, i.delta_source, m.issuer_id is null as is_waiting, m.crl_number::text,
                      m.crl_sha256, m.this_update, m.next_update, m.entries, m.etag, m.last_modified, m.delta_url,
                      m.delta_number::text, m.delta_sha256, m.delta_this_update, m.delta_next_update, m.good_from,
                      m.good_until, coalesce(m.kept_live, 0) as kept_live, coalesce(m.kept_unknown, 0) as kept_unknown,
                      coalesce(m.skipped, 0) as skipped, m.remarks, coalesce(m.tried_at, w.tried_at) as tried_at,
                      coalesce(m.failures, w.failures, 0) as failures, c.crl_number::text as served_number,
                      p.crl_number::text as served_delta, concat_ws(' ', c.xmin, p.xmin) as versions
                 from issuers i left join crl_mirrors m using (issuer_id)
                 left join crl_sources_waiting w using (issuer_id) left join crl_cache c using (issuer_id)
                 left join crl_parts p using (issuer_id)
                where i.crl_source is not null and ($1::text[] is null or issuer_id = any($1)) order by issuer_id""",
            [issuer_id] if issuer_id is not None else None if among is None else list(among),
        )
    numbers = ("crl_number", "delta_number", "served_number", "served_delta")
    return [Mirror(**dict(row) | {name: _int(row[name]) for name in numbers}) for row in rows]


async def drop_damaged(connection: Connection, issuer_id: str) -> bool:
    """Delete what is served and is not, byte for byte, what was mirrored; the next attempt fetches it again."""
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


async def begin_try(connection: Connection, issuer_id: str) -> None:
    """Note an attempt as failed before it begins: one that ends the process is then not repeated endlessly."""
    with translated():
        for table in ("crl_mirrors", "crl_sources_waiting"):
            await connection.execute(
                f"update {table} set tried_at = now(), failures = failures + 1 where issuer_id = $1",  # noqa: S608
                issuer_id,
            )


async def end_try(connection: Connection, issuer_id: str, *, failed: bool) -> None:
    """Note that the attempt has ended now, and whether it failed."""
    with translated():
        for table in ("crl_mirrors", "crl_sources_waiting"):
            await connection.execute(
                f"update {table} set tried_at = now(), failures = case when $2 then failures else 0 end"  # noqa: S608
                " where issuer_id = $1",
                issuer_id,
                failed,
            )


async def note_source(connection: Connection, issuer_id: str, etag: str | None, last_modified: str | None) -> None:
    """Keep the validators for the next request."""
    with translated():
        await connection.execute(
            "update crl_mirrors set etag = $2, last_modified = $3 where issuer_id = $1", issuer_id, etag, last_modified
        )


def _int(number: str | None) -> int | None:
    return None if number is None else int(number)
