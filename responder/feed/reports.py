"""Reported orphans in the revoked set: serials that an edge knows to be revoked and the ledger does not.

A report is no proof. Where it is all that is known of a serial, the set has an entry whose reason is marked REPORTED:
no record agrees with it, so the gate lets neither `good` nor `revoked` pass. What a replica knows by itself stays as it
is.
Pure functions over items and groups.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from _fastocsp.revoked.rows import join_groups, merge_groups, missing_rows
from _fastocsp.wire.codes import NO_REASON
from _fastocsp.wire.types import REPORTED, REPORTED_ITEM, Groups, Item

REVOKED, RELEASED = 1, 2
#: A row of Groups: issuer_no, serial, revocation time in epoch seconds, reason.
ListedRow = tuple[int, bytes, int, int]


def is_report(item: Item) -> bool:
    """Return whether the item is a report, which changes nothing of what is known."""
    return item[0] == REPORTED_ITEM


def as_entry(item: Item) -> Item:
    """Return the report as an item of the revoked set that blocks every answer."""
    _, issuer_no, serial, revoked_at, reason = item
    return REVOKED, issuer_no, serial, revoked_at, reason | REPORTED


def entries_of(reports: Iterable[ListedRow]) -> Groups:
    """Return blocking entries for these reports."""
    return merge_groups({}, [as_entry((REPORTED_ITEM, *row)) for row in reports])


def effective_items(items: list[Item], find: Callable[[int, bytes], object | None]) -> list[Item]:
    """Return the items as changes of a set: a report becomes a blocking entry where `find`, and the items before it,
    know nothing of the serial, and nothing elsewhere.
    """
    if not any(map(is_report, items)):
        return items
    listed: dict[tuple[int, bytes], bool] = {}
    changes = []
    for item in items:
        key = item[1], item[2]
        if is_report(item):
            if listed.get(key, find(*key) is not None):
                continue
            item = as_entry(item)  # noqa: PLW2901 - the change that it is
        listed[key] = item[0] == REVOKED
        changes.append(item)
    return changes


def merge_items(groups: Groups, items: Iterable[Item]) -> Groups:
    """Return the set after these items, as `effective_items` and the set's own changes would make it."""
    for reported, run in groupby(items, key=is_report):
        if reported:
            groups = join_groups(groups, missing_rows(merge_groups({}, map(as_entry, run)), groups))
        else:
            groups = merge_groups(groups, run)
    return groups


def without_named(orphans: Groups, items: Iterable[Item]) -> Groups:
    """Return the orphans that these items do not name: what the ledger names, other than by a report, is none."""
    named = [(RELEASED, item[1], item[2], 0, 0) for item in items if not is_report(item)]
    return merge_groups(orphans, named) if named else orphans


def without_reported(orphans: Groups, reported: Groups) -> Groups:
    """Return the orphans but for those that were only reported, and still are: others answer for them."""
    heard = [row for row in rows_of(orphans) if is_blocking(row[3])]
    still = {row[:2] for row in rows_of(reported)} if heard else set()
    return merge_groups(orphans, [(RELEASED, *row) for row in heard if row[:2] in still])


def without_fences(groups: Groups) -> Groups:
    """Return the set but for its fences: one that vanished is no orphan. The ledger gives no lease after a restore
    before it has set its own.
    """
    return {key: rows for key, rows in groups.items() if key[1]}


def is_blocking(reason: int) -> bool:
    """Return whether the reason of an entry says that the serial is only reported to be revoked."""
    return reason != NO_REASON and bool(reason & REPORTED)


def rows_of(groups: Groups) -> Iterator[ListedRow]:
    """Yield every row of the set."""
    for (issuer_no, n), octets in groups.items():
        for at in range(0, len(octets), n + 5):
            yield issuer_no, octets[at : at + n], int.from_bytes(octets[at + n : at + n + 4], "big"), octets[at + n + 4]
