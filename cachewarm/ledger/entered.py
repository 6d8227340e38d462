"""What is new since the last reading, whatever the order of commits.

Rows carry the transaction that entered them. A reading takes every row that it can see of transactions from the former
reading's xmin on, but for those that were read before: what was under way then, or committed out of order, is read
later, once.
"""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace

import asyncpg

from cachewarm.ledger.connect import Connection, one_row, translated

_SERVER = "pg_postmaster_start_time()::text as server, pg_snapshot_xmin(pg_current_snapshot())::text as xmin"


@dataclass(frozen=True)
class Place:
    """How far a reader is: transactions before `xmin` were read, and of the later ones those in `seen`.

    `server` is the run of the Postgres that numbered them: another one may be a copy whose end differs.
    """

    server: str
    xmin: int
    seen: frozenset[int] = frozenset()

    def after(self, row: asyncpg.Record, found: Iterable[int] = ()) -> "Place":
        """Return the place after a reading that found rows of these transactions; `row` has server and xmin."""
        there = Place(row["server"], int(row["xmin"]))
        if not self.leads_to(there):
            return there
        return replace(there, seen=frozenset(each for each in (*self.seen, *found) if each >= there.xmin))

    def leads_to(self, there: "Place") -> bool:
        """Return whether a reading that ended here missed nothing that was there before."""
        return there.server == self.server and there.xmin >= self.xmin

    @property
    def arguments(self) -> tuple[str, list[str]]:
        """For `entered >= $n::text::xid8 and entered <> all ($m::text[]::xid8[])`."""
        return str(self.xmin), [str(each) for each in self.seen]


async def current_place(connection: Connection) -> Place:
    """Return the place of a reader who has read everything that is committed now, and nothing that is under way."""
    with translated():
        row = await one_row(connection, f"select {_SERVER}")
    return Place(row["server"], int(row["xmin"]))


@dataclass(frozen=True)
class ChangedIssuers:
    """Ids of the issuers that changed since, and the place behind; `ids` None: any may have changed."""

    place: Place
    ids: frozenset[str] | None


async def changed_issuers(connection: Connection, about: str, since: Place) -> ChangedIssuers:
    """Return which issuers changed: `about` "issuer", "crl" or "mirror", as the migration that logs them says."""
    with translated():
        row = await one_row(
            connection,
            f"""with fresh as (
                  select issuer_id, entered from issuer_changes
                   where about = $1 and entered >= $2::text::xid8 and entered <> all ($3::text[]::xid8[]))
                select {_SERVER}, (select array_agg(distinct issuer_id) from fresh) as ids,
                       (select array_agg(distinct entered::text) from fresh) as seen""",  # noqa: S608 - our own constant
            about,
            *since.arguments,
        )
    place = since.after(row, map(int, row["seen"] or ()))
    return ChangedIssuers(place, frozenset(row["ids"] or ()) if since.leads_to(place) else None)


async def forget_changes(connection: Connection) -> None:
    """Drop the log of changes that are an hour old; readers that were away for so long read everything."""
    with translated():
        await connection.execute(
            """delete from issuer_changes
                where entered < pg_snapshot_xmin(pg_current_snapshot()) and at < now() - interval '1 hour'"""
        )


@dataclass(frozen=True, kw_only=True)
class NewCertificate:
    """A certificate that was entered, or whose end changed; `not_after` in epoch seconds, `entered` by transaction."""

    issuer_id: str
    serial_number: bytes
    not_after: int
    entered: int


async def any_entered(connection: Connection, since: Place) -> Place | None:
    """Return None when certificates were entered, else the place behind: nothing was until there."""
    with translated():
        row = await one_row(
            connection,
            f"""select {_SERVER}, exists (
                  select from certificates
                   where entered >= $1::text::xid8 and entered <> all ($2::text[]::xid8[])) as found""",  # noqa: S608
            *since.arguments,
        )
    return None if row["found"] else since.after(row)


async def entered_certificates(
    connection: Connection, since: Place, limit: int
) -> AsyncGenerator[tuple[Place, list[NewCertificate]]]:
    """Yield what was entered since, at most `limit` at a time, with the place behind all of it, as of one snapshot.

    The place holds once the last list was taken.
    """
    with translated():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("set local enable_seqscan = off")
            snapshot = await one_row(connection, f"select {_SERVER}")
            cursor = await connection.cursor(
                """select issuer_id, serial_number, floor(extract(epoch from not_after))::int8 as not_after,
                          entered::text::int8 as entered
                     from certificates
                    where entered >= $1::text::xid8 and entered <> all ($2::text[]::xid8[])""",
                *since.arguments,
            )
            found: set[int] = set()
            while rows := await cursor.fetch(limit):
                new = [NewCertificate(**dict(row)) for row in rows]
                found |= {row.entered for row in new}
                yield since.after(snapshot, found), new
