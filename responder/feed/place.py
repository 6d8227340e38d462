"""How far a reader of a log is that transactions write in any order.

Rows carry the transaction that entered them. A reading takes every row that it can see of transactions from the former
reading's xmin on, but for those that were read before: what was under way then, or committed out of order, is read
later, once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

#: Columns that `Place.after` reads.
SERVER_AND_XMIN = "pg_postmaster_start_time()::text as server, pg_snapshot_xmin(pg_current_snapshot())::text as xmin"


def fresh_rows(xmin: str, seen: str) -> str:
    """Return the SQL condition for rows that a reader has not read; the names are those of `Place.arguments`.

    A restored dump has rows of transactions that this server has not begun. They wait until it reaches these numbers,
    or the reader would take a transaction of its own server with such a number for one that it has read.
    """
    now = "pg_current_snapshot()"
    return (
        f"entered >= {xmin}::text::xid8 and entered < pg_snapshot_xmax({now})"
        f" and pg_visible_in_snapshot(entered, {now})"
        f" and entered <> all ({seen}::text[]::xid8[])"
    )


@dataclass(frozen=True)
class Place:
    """How far a reader is: transactions before `xmin` were read, and of the later ones those in `seen`.

    `server` is the run of the Postgres that numbered them: another one may be a copy whose end differs.
    """

    server: str
    xmin: int
    seen: frozenset[int] = frozenset()

    def after(self, row: Any, found: Iterable[int] = ()) -> "Place":
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
        """Return the arguments of the condition `fresh_rows`."""
        return str(self.xmin), [str(each) for each in self.seen]
