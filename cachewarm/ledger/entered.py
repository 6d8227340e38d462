"""What is new since the last reading, whatever the order of commits.

Rows carry the transaction that entered them. A reading takes every row that it can see of transactions from the former
reading's xmin on, but for those that were read before: what was under way then, or committed out of order, is read
later, once.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from cachewarm.ledger.connect import Connection, one_row, translated


@dataclass(frozen=True)
class Place:
    """How far a reader is: transactions before `xmin` were read, and of the later ones those in `seen`."""

    xmin: int
    seen: frozenset[int] = frozenset()

    def after(self, xmin: int, found: frozenset[int]) -> "Place":
        """Return the place after a reading whose snapshot had that xmin and that found rows of these transactions."""
        return Place(xmin, frozenset(each for each in self.seen | found if each >= xmin))

    @property
    def arguments(self) -> tuple[str, list[str]]:
        """For `entered >= $n::text::xid8 and entered <> all ($m::text[]::xid8[])`."""
        return str(self.xmin), [str(each) for each in self.seen]


async def current_place(connection: Connection) -> Place:
    """Return the place of a reader who has read everything that is committed now, and nothing that is under way."""
    with translated():
        return Place(int(await connection.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text")))


@dataclass(frozen=True)
class ChangedIssuers:
    """Ids of the issuers that changed since, and the place behind; `ids` None: any may have changed."""

    place: Place
    ids: frozenset[str] | None


async def changed_issuers(connection: Connection, about: str, since: Place) -> ChangedIssuers:
    """Return which issuers changed: `about` "issuer", "crl" or "mirror", as the migration 0023 says."""
    with translated():
        row = await one_row(
            connection,
            """with fresh as (
                 select issuer_id, entered from issuer_changes
                  where about = $1 and entered >= $2::text::xid8 and entered <> all ($3::text[]::xid8[]))
               select pg_snapshot_xmin(pg_current_snapshot())::text as xmin,
                      (select array_agg(distinct issuer_id) from fresh) as ids,
                      (select array_agg(distinct entered::text) from fresh) as seen""",
            about,
            *since.arguments,
        )
    xmin = int(row["xmin"])
    place = since.after(xmin, frozenset(map(int, row["seen"] or ())))
    return ChangedIssuers(place, None if xmin < since.xmin else frozenset(row["ids"] or ()))


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
            """select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, exists (
                 select from certificates
                  where entered >= $1::text::xid8 and entered <> all ($2::text[]::xid8[])) as found""",
            *since.arguments,
        )
    return None if row["found"] else since.after(int(row["xmin"]), frozenset())


async def entered_certificates(
    connection: Connection, since: Place, limit: int
) -> AsyncGenerator[tuple[Place, list[NewCertificate]]]:
    """Yield what was entered since, at most `limit` at a time, with the place behind all of it, as of one snapshot.

    The place holds once the last list was taken.
    """
    with translated():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("set local enable_seqscan = off")
            xmin = int(await connection.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text"))
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
                yield since.after(xmin, frozenset(found)), new
