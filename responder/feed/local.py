"""The set and the lease for a process that signs: the same feed as an edge's, in memory of its own.

It holds no lease row in the ledger and is not waited for: what it signs passes an edge's gate before it is served.
"""

from _fastocsp.revoked.image import RevokedImage, image_size
from _fastocsp.wire.types import Groups, Item
from responder.clock import Clock
from responder.feed.machine import Position, Renew, State

DELTA_CAPACITY = 1 << 14


class LocalFeed:
    """No other process sees it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lease: Renew | None = None
        self.position = Position(0, 0, b"")
        self.state = State.BOOT
        self.orphans = 0
        self.replace({})

    def replace(self, groups: Groups) -> None:
        """Show a new set, in place of the old one."""
        counts = {key: len(rows) // (key[1] + 5) for key, rows in groups.items()}
        self.image = RevokedImage(bytearray(image_size(counts, DELTA_CAPACITY)), writable=True)
        self.image.build(groups, DELTA_CAPACITY)

    def apply(self, items: list[Item]) -> None:
        """These changes, in their order."""
        for item in items:
            if not self.image.apply(*item):
                self.replace(self.image.compact())
                self.image.apply(*item)

    def listing(self) -> Groups:
        """Return the whole set, by issuer number."""
        return self.image.compact()

    def renew(self, lease: Renew | None) -> None:
        """`good` may be signed until the end of this lease; not at all without one."""
        self._lease = lease

    def former_lease(self) -> None:
        """This memory had no life before."""

    def show_orphans(self, count: int) -> None:
        """Do nothing: the edges raise the alarm."""
        self.orphans = count

    def show_journal(self, *, is_written: bool) -> None:
        """Do nothing: there is no journal."""

    def show(self, position: Position, head: int, state: State) -> None:  # noqa: ARG002 - the feed's interface
        """Where the feed is."""
        self.position, self.state = position, state

    def find(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        """Return (revocation time, reason) of a listed serial; a reason marked REPORTED is no revocation."""
        return self.image.find(issuer_no, serial)

    def revoked(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        """(revocation time, reason) of a certificate that is revoked, or reported to be: see records.statement."""
        return self.image.find(issuer_no, serial)

    def fenced(self, issuer_no: int) -> bool:
        """Return whether the issuer is fenced: nothing but revocations may be stated of its certificates."""
        return self.image.is_fenced(issuer_no)

    @property
    def as_of(self) -> int | None:
        """Epoch seconds that `good` may be said for; None when the lease has run out."""
        now, lease = self._clock(), self._lease
        if lease is None or now.boot >= lease.until_boot or now.mono >= lease.until_mono:
            return None
        return lease.as_of
