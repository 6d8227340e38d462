"""Read what is new since the last reading, whatever the order of commits (`responder.feed.place`)."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from cachewarm.ledger.connect import Connection, one_row, translated
from responder.feed.place import SERVER_AND_XMIN, Place, fresh_rows


async def current_place(connection: Connection) -> Place:
    """Return the place of a reader who has read everything that is committed now, and nothing that is under way."""
    with translated():
        row = await one_row(connection, f"select {SERVER_AND_XMIN}")
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
                   where about = $1 and {fresh_rows("$2", "$3")})
                select {SERVER_AND_XMIN}, (select array_agg(distinct issuer_id) from fresh) as ids,
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
            f"""select {SERVER_AND_XMIN}, exists (
                  select from certificates where {fresh_rows("$1", "$2")}) as found""",  # noqa: S608
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
            snapshot = await one_row(connection, f"select {SERVER_AND_XMIN}")
            cursor = await connection.cursor(
                f"""select issuer_id, serial_number, floor(extract(epoch from not_after))::int8 as not_after,
                          entered::text::int8 as entered
                     from certificates
                    where {fresh_rows("$1", "$2")}""",  # noqa: S608 - our own constant
                *since.arguments,
            )
            found: set[int] = set()
            while rows := await cursor.fetch(limit):
                new = [NewCertificate(**dict(row)) for row in rows]
                found |= {row.entered for row in new}
                yield since.after(snapshot, found), new
