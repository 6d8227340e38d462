"""The replica of the revoked set on this host: on disk, in memory, and the part of it that the ledger has lost.

Order of every change: journal (fsynced), shown set, machine; the lease after that, and the acknowledgement with the
next question. kill -9 after any line leaves a set that is at least what was acknowledged. An *orphan* is an entry that
vanished from the ledger without a release: it stays revoked, over restarts too, until the ledger names it again or an
operator dismisses it. Orphans that others reported block every answer (reports.py).
"""

from collections.abc import Callable
from typing import Protocol

from _fastocsp.revoked.ledger_wire import parse_items
from _fastocsp.revoked.rows import join_groups, merge_groups, missing_rows
from _fastocsp.wire.types import Groups, Item
from responder.clock import NS
from responder.feed.journal import RecoveredState, groups_of
from responder.feed.machine import Apply, FeedMachine, Position, Renew, Row, State, TakeSnapshot, Withdraw
from responder.feed.reports import RELEASED, effective_items, rows_of, without_fences, without_named, without_reported


class Shown(Protocol):
    """Where the set and the lease are shown: shared memory for an edge, plain memory for the signer and the warmer."""

    def replace(self, groups: Groups) -> None: ...  # noqa: D102
    def apply(self, items: list[Item]) -> None: ...  # noqa: D102
    def listing(self) -> Groups: ...  # noqa: D102
    def find(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None: ...  # noqa: D102
    def renew(self, lease: Renew | None) -> None: ...  # noqa: D102
    def show(self, position: Position, head: int, state: State) -> None: ...  # noqa: D102
    def show_orphans(self, count: int) -> None: ...  # noqa: D102
    def show_journal(self, *, is_written: bool) -> None: ...  # noqa: D102
    def former_lease(self) -> Renew | None: ...  # noqa: D102


class Disk(Protocol):
    """The disk; `fault` is why the last write failed."""

    @property
    def fault(self) -> str | None: ...  # noqa: D102
    def require(self) -> None: ...  # noqa: D102
    def open(self) -> RecoveredState | None: ...  # noqa: D102
    def append(self, rows: tuple[Row, ...], position: Position) -> None: ...  # noqa: D102
    def replace(self, position: Position, groups: Groups, orphans: Groups) -> None: ...  # noqa: D102


class Replica:
    """One machine, one shown set, one journal or none."""

    def __init__(self, horizon_s: float, shown: Shown, disk: Disk | None) -> None:
        self.machine = FeedMachine(horizon_s)
        self.orphans: Groups = {}
        self.on_change: Callable[[list[Item]], None] = _nobody
        #: Sets that were taken as a whole, without `on_change`.
        self.adoptions = 0
        self._shown, self._disk = shown, disk

    @property
    def journal_fault(self) -> str | None:
        """Why the journal cannot be written, None while it can."""
        return self._disk.fault if self._disk else None

    def require_journal(self) -> None:
        """Raise OSError while the journal cannot be written: a poll acknowledges what is on disk."""
        if self._disk:
            self._disk.require()

    def boot(self) -> None:
        """Show what the disk kept: `revoked` is answered before the first word from the ledger, `good` only by a lease
        of the life before that has not run out, and for no less of a set than it was given for.
        """
        kept = self._disk.open() if self._disk else None
        self._shown.renew(None)
        if kept is None:
            self._shown.replace({})
            return
        self._own(without_named(kept.orphans, [item for row in kept.rows for item in parse_items(row.payload)]))
        self._shown.replace(groups_of(kept))
        self.machine = FeedMachine(self.machine.horizon / NS, kept.position)
        former = self._shown.former_lease()
        if former is not None and (former.generation, former.seq) <= kept.position[:2]:
            self._lease(former)

    def carry_out(self, effect: Apply | Renew | Withdraw) -> bool:
        """True when the next question should follow at once: something new is to be acknowledged."""
        match effect:
            case Apply(rows, position):
                return self._apply(rows, position)
            case Renew():
                self._lease(effect)
            case Withdraw():
                self._lease(None)
        return False

    def adopt(self, due: TakeSnapshot, position: Position, groups: Groups, reported: Groups | None = None) -> bool:
        """Take a whole set as of `position`, with the blocking entries of what is reported; False: it is of no use."""
        adopted = self.machine.snapshot_read(due, position)
        if adopted is None:
            return False
        blocking = reported or {}
        orphans = missing_rows(self._shown.listing() if adopted.keep_vanished else self.orphans, groups)
        orphans = without_reported(without_fences(orphans), blocking)
        whole = join_groups(join_groups(groups, orphans), blocking)
        if self._disk:
            try:
                self._disk.replace(position, whole, orphans)
            except OSError:  # shown all the same, so that it is answered `revoked`; never acknowledged, so no lease
                self._own(orphans)
                self._shown.replace(whole)
                raise
        self._own(orphans)
        self._shown.replace(whole)
        self.adoptions += 1
        self.machine.snapshot_taken(position)
        return True

    def forget(self, orphans: list[tuple[int, bytes]]) -> None:
        """Drop these orphans, which the ledger says are none: (issuer_no, serial)."""
        known = {row[:2] for row in rows_of(self.orphans)}
        gone: list[Item] = [(RELEASED, *orphan, 0, 0) for orphan in orphans if orphan in known]
        position = self.machine.position
        if position is None or not gone:
            return
        left = merge_groups(self.orphans, gone)
        if self._disk:
            self._disk.replace(position, merge_groups(self._shown.listing(), gone), left)
        self._shown.apply(gone)
        self._own(left)
        self.on_change(gone)

    def _apply(self, rows: tuple[Row, ...], position: Position) -> bool:
        items = [item for row in rows for item in parse_items(row.payload)]
        news = position != self.machine.position
        if self._disk:
            self._disk.append(rows, position)
        self._shown.apply(effective_items(items, self._shown.find))
        if items and self.orphans:
            self._own(without_named(self.orphans, items))
        self.machine.applied(position)
        if items:
            self.on_change(items)
        return news

    def _lease(self, lease: Renew | None) -> None:
        self._shown.renew(lease)
        self.machine.renewed(lease)

    def _own(self, orphans: Groups) -> None:
        self.orphans = orphans
        self._shown.show_orphans(count_rows(orphans))


def _nobody(_: list[Item]) -> None:
    """The default of on_change."""


def count_rows(groups: Groups) -> int:
    """Return the number of serial numbers."""
    return sum(len(rows) // (serial_len + 5) for (_, serial_len), rows in groups.items())
