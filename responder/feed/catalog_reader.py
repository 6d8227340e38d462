"""The catalog, kept current: a look reads the log of changed issuers and then those issuers alone.

Everything is read over a new connection, from another server or another generation of the ledger, from a ledger whose
log is incomplete, after a look that came late, and now and then to verify. Orphans and faults are exceptions that have
few rows: they are read by every look. Responder certificates that expired are noticed by the ledger's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from responder.clock import NS, Clock, read_clock
from responder.domain.catalog import Catalog
from responder.feed.catalog import crl_faults, read_issuer_faults, read_orphans, read_rows
from responder.feed.crl_files import CRLFiles
from responder.feed.place import SERVER_AND_XMIN, Place, fresh_rows
from responder.feed.poll import Connection

#: Between two readings of everything; it finds what was written with triggers off, and files that somebody removed.
VERIFY_S = 300
#: The log drops what is an hour old: a reader whose look before is older than this reads everything.
LATE_S = 1800

_LOOK = f"""
with fresh as (
  select issuer_id, about, entered from issuer_changes
   where about in ('issuer', 'crl', 'catalog', 'everything') and {fresh_rows("$1", "$2")})
select {SERVER_AND_XMIN}, (select generation from feed_position) as generation,
       to_regproc('issuers_emptied') is not null as is_logged,
       floor(extract(epoch from now()))::bigint as now,
       (select array_agg(distinct issuer_id) from fresh) as ids,
       (select array_agg(distinct entered::text) from fresh) as seen,
       exists (select from fresh where about = 'everything') as is_everything"""  # noqa: S608 - our own constant


@dataclass(frozen=True)
class _Look:
    """What the look before found, and when it was, in nanoseconds since the host's start."""

    connection: Connection
    place: Place
    generation: int
    at: int


class CatalogReader:
    """The catalog of one edge, as it was last read."""

    def __init__(self, files: CRLFiles, clock: Clock = read_clock) -> None:
        self._files, self._clock = files, clock
        self._last: _Look | None = None
        self._verify_at = 0
        self._catalog: Catalog | None = None
        self._ends: dict[str, int] = {}
        self._crl_faults: Mapping[str, list[str]] = {}

    async def read(self, connection: Connection, former: Catalog) -> Catalog:
        """Return the catalog as the ledger has it now, in one snapshot; the same object while nothing changes.

        `former` is what the first reading starts from; later ones start from the one before.
        """
        last, self._last = self._last, None  # whatever fails: the next reading is of everything
        at = self._clock().boot
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            since = Place("", 0) if last is None or last.connection is not connection else last.place
            (row,) = await connection.fetch(_LOOK, *_arguments(since))
            ids = self._ids(last, row, at) if since.server else None
            catalog = await self._read(connection, former if self._catalog is None else self._catalog, ids)
            if ids is None or ids:
                await self._note_ends(connection, ids)
        place = since.after(row, map(int, row["seen"] or ()))
        self._catalog, self._last = catalog, _Look(connection, place, row["generation"], at)
        if ids is None:
            self._verify_at = at + VERIFY_S * NS
        return catalog

    def _ids(self, last: _Look | None, row: Any, at: int) -> set[str] | None:
        """Return which issuers may have changed since the look before; None for all."""
        there = Place(row["server"], int(row["xmin"]))
        if last is None or not last.place.leads_to(there) or row["generation"] != last.generation:
            return None
        if not row["is_logged"] or row["is_everything"] or at >= min(self._verify_at, last.at + LATE_S * NS):
            return None
        expired = {issuer_id for issuer_id, end in self._ends.items() if end <= row["now"]}
        return expired | self._files.unsettled | set(row["ids"] or ())

    async def _read(self, connection: Connection, former: Catalog, ids: set[str] | None) -> Catalog:
        if ids is None or ids:
            catalog = await read_rows(connection, self._files, former, ids)
            self._crl_faults = crl_faults(catalog.issuers)
            return former if catalog == former else catalog
        faults = {issuer_id: list(work) for issuer_id, work in self._crl_faults.items()}
        faults, orphans = await read_issuer_faults(connection, faults), await read_orphans(connection)
        if (faults, orphans) == (former.issuer_faults, former.orphans):
            return former
        return replace(former, issuer_faults=faults, orphans=orphans)

    async def _note_ends(self, connection: Connection, ids: set[str] | None) -> None:
        """Note by issuer when the first of its responder certificates that are left expires, in epoch seconds."""
        rows = await connection.fetch(
            """select issuer_id, ceil(extract(epoch from min(not_after)))::bigint as first from ocsp_responder_certs
                where not_after > now() and isfinite(not_after) and ($1::text[] is null or issuer_id = any($1))
                group by issuer_id""",
            None if ids is None else list(ids),
        )
        kept = {} if ids is None else {name: end for name, end in self._ends.items() if name not in ids}
        self._ends = kept | {row["issuer_id"]: row["first"] for row in rows}


def _arguments(since: Place) -> tuple[str, list[str]]:
    """A reading of everything needs nothing of the log: it asks for what transactions that have not begun wrote."""
    return since.arguments if since.server else (str((1 << 63) - 1), [])
