"""Shared files of agent and workers: one page of numbers and the current image of the revoked set.

The page says which image file is current and until when `good` may be said. Order of every change: the image first,
the page second, the acknowledgement last; so a worker that sees a lease sees every revocation the lease stands for.
Files live in the run folder. A new life of the agent closes the page of the one before it, whose workers may be slow to
die: they would trust a lease that the ledger no longer knows of. What that lease allowed is handed to the new life, as
long as the host did not boot meanwhile (ADR 0007). A page that was removed or replaced under the agent's
feet is closed too, and ends the agent: no process can map it any more.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from pathlib import Path

from _fastocsp.revoked.image import RevokedImage, image_size
from _fastocsp.shared.counters import Counters
from _fastocsp.wire.types import Groups, Item
from responder.feed.machine import Position, Renew, State
from responder.files import map_file, open_map, remove_map, replace_map

PAGE_SIZE = 4096
PAGE_NAME = "feed.page"
MAGIC = 0x31504646_50534346
# u64 slots of the page; responder/hotpath/gate.pyx reads the first five
SLOT_MAGIC, SLOT_IMAGE, SLOT_UNTIL_BOOT, SLOT_UNTIL_MONO, SLOT_AS_OF = range(5)
SLOT_GENERATION, SLOT_SEQ, SLOT_HEAD, SLOT_STATE, SLOT_CATALOG, SLOT_ORPHANS = range(5, 11)
# for the next life of the agent: what was allowed at its end, and in which life of the host
SLOT_HOST_LIFE, SLOT_LEFT_BOOT, SLOT_LEFT_MONO, SLOT_LEFT_GENERATION, SLOT_LEFT_SEQ = range(11, 16)
#: 1 while the journal cannot be written
SLOT_UNJOURNALED = 16
#: The lease of a set with fences (gate.pyx), in place of the one in SLOT_UNTIL_*; how many issuers are fenced
SLOT_FENCED_BOOT, SLOT_FENCED_MONO, SLOT_FENCED = 17, 18, 19
_LEFT_SLOTS = SLOT_LEFT_BOOT, SLOT_LEFT_MONO, SLOT_AS_OF, SLOT_LEFT_GENERATION, SLOT_LEFT_SEQ
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DELTA_CAPACITY = 1 << 16


class PageGone(Exception):
    """The run folder or the page in it is not there any more; begin again with a new one."""


def image_path(folder: Path, number: int) -> Path:
    """The file of image `number`."""
    return folder / f"revoked-{number}.map"


class SharedFeed:
    """The writer's side; one a host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = _lock(folder / "feed.lock")
        self._former = close_page(folder)
        for left in folder.glob("revoked-*.map"):
            remove_map(left)
        self._number = 0
        self._lease: Renew | None = None
        self.image: RevokedImage | None = None
        new = folder / (PAGE_NAME + ".new")
        self._page = Counters(map_file(new, PAGE_SIZE))
        self._put(SLOT_MAGIC, MAGIC)
        self._put(SLOT_HOST_LIFE, _host_life())
        self._inode = new.stat().st_ino
        replace_map(new, folder / PAGE_NAME)

    def close(self) -> None:
        """End the lease of these workers; the next life that writes here has what is left of it."""
        self._lease = None
        _end_lease(self._page)
        os.close(self._lock)

    def replace(self, groups: Groups) -> None:
        """Show a new image; workers that still read the old one are as if they had asked a moment earlier."""
        counts = {key: len(rows) // (key[1] + 5) for key, rows in groups.items()}
        number = self._number + 1
        path = image_path(self._folder, number)
        image = RevokedImage(map_file(path, image_size(counts, DELTA_CAPACITY)), writable=True)
        image.build(groups, DELTA_CAPACITY)
        self.image = image
        self._put(SLOT_IMAGE, number)
        if self._number:
            remove_map(image_path(self._folder, self._number))
        self._number = number
        self._show_fences()

    def apply(self, items: list[Item]) -> None:
        """Show these changes; the image is renewed when its delta is full."""
        if self.image is None:
            raise RuntimeError("no image yet")
        for item in items:
            if not self.image.apply(*item):
                self.replace(self.image.compact())
                self.image.apply(*item)
        self._show_fences()

    def listing(self) -> Groups:
        """Return the whole set, by issuer number."""
        return self.image.compact() if self.image is not None else {}

    def find(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        """Return (revocation time, reason) of a listed serial."""
        return self.image.find(issuer_no, serial) if self.image is not None else None

    def renew(self, lease: Renew | None) -> None:
        """Allow `good` until the end of this lease; not at all without one."""
        self._lease = lease
        if lease is None:
            _end_lease(self._page)
            self._put(SLOT_LEFT_BOOT, 0)
            return
        self._put(SLOT_LEFT_GENERATION, lease.generation)
        self._put(SLOT_LEFT_SEQ, lease.seq)
        self._put(SLOT_AS_OF, lease.as_of)
        self._put(SLOT_LEFT_MONO, lease.until_mono)
        self._put(SLOT_LEFT_BOOT, lease.until_boot)
        self._show_lease(lease)

    def _show_lease(self, lease: Renew) -> None:
        if self.image is not None and self.image.fenced:
            self._put(SLOT_UNTIL_BOOT, 0)
            self._put(SLOT_UNTIL_MONO, 0)
            self._put(SLOT_FENCED_MONO, lease.until_mono)
            self._put(SLOT_FENCED_BOOT, lease.until_boot)
        else:
            self._put(SLOT_UNTIL_MONO, lease.until_mono)
            self._put(SLOT_UNTIL_BOOT, lease.until_boot)

    def _show_fences(self) -> None:
        """Move the lease where the gate looks for it, now that the set has its first fence, or none any more."""
        fenced = self.image.fenced if self.image is not None else 0
        moved = bool(fenced) != bool(self._page.get(SLOT_FENCED))
        self._put(SLOT_FENCED, fenced)
        if moved and self._lease is not None:
            self._show_lease(self._lease)

    def has_lease(self) -> bool:
        """Return whether `good` is allowed now, but for issuers that are fenced."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) < lease_end(self._page)

    def former_lease(self) -> Renew | None:
        """Lease that the page of the life before allowed, on the clocks of this same boot of the host."""
        return self._former

    def show(self, position: Position, head: int, state: State) -> None:
        """For metrics and /ready; nothing safe depends on it. PageGone: it is shown to no process any more."""
        self._put(SLOT_GENERATION, position.generation)
        self._put(SLOT_SEQ, position.seq)
        self._put(SLOT_HEAD, head)
        self._put(SLOT_STATE, int(state))
        self._require_page()

    def show_catalog(self, version: int) -> None:
        """Tell the workers that the catalog changed."""
        self._put(SLOT_CATALOG, version)

    def show_orphans(self, count: int) -> None:
        """Entries that vanished from the ledger and are kept."""
        self._put(SLOT_ORPHANS, count)

    def show_journal(self, *, is_written: bool) -> None:
        """Tell whether the journal takes what the feed brings; for metrics and /ready."""
        self._put(SLOT_UNJOURNALED, int(not is_written))

    def _require_page(self) -> None:
        try:
            there = (self._folder / PAGE_NAME).stat().st_ino == self._inode
        except FileNotFoundError:
            there = False
        if not there:
            self.renew(None)
            raise PageGone(f"{self._folder / PAGE_NAME} was removed or replaced")

    def _put(self, slot: int, value: int) -> None:
        self._page.put(slot, value)


class FeedPage:
    """The reader's side of the page, for what is not the gate."""

    def __init__(self, folder: Path) -> None:
        self._page = Counters(open_map(folder / PAGE_NAME))
        if self.get(SLOT_MAGIC) != MAGIC:
            raise ValueError("not a feed page")

    def get(self, slot: int) -> int:
        """Return the number in a slot."""
        return self._page.get(slot)

    def lease_end(self) -> int:
        """Return until when there is a lease, on the boot clock; 0 for none."""
        return lease_end(self._page)


def lease_end(page: Counters) -> int:
    """Return until when the page has a lease, for a set with fences or without, on the boot clock; 0 for none."""
    return max(page.get(SLOT_UNTIL_BOOT), page.get(SLOT_FENCED_BOOT))


def close_page(folder: Path) -> Renew | None:
    """End the lease of the page that lies there, for every process that still maps it; it is returned if it is of the
    host's boot.
    """
    with contextlib.suppress(FileNotFoundError, ValueError):
        page = Counters(open_map(folder / PAGE_NAME, write=True))
        if page.count * 8 == PAGE_SIZE and page.get(SLOT_MAGIC) == MAGIC:
            lease = Renew(*map(page.get, _LEFT_SLOTS))
            _end_lease(page)
            return lease if lease.until_boot and page.get(SLOT_HOST_LIFE) == _host_life() else None
    return None


def _host_life() -> int:
    """Differs from boot to boot: the clocks of a lease begin again at zero with each."""
    return int.from_bytes(hashlib.sha256(BOOT_ID.read_bytes()).digest()[:7], "big")


def _end_lease(page: Counters) -> None:
    for slot in (SLOT_UNTIL_BOOT, SLOT_UNTIL_MONO, SLOT_FENCED_BOOT, SLOT_FENCED_MONO):
        page.put(slot, 0)


def _lock(path: Path) -> int:
    """Held until the process ends: two agents in one folder would each close the other's page."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, f"another edge runs in {path.parent}") from error
    return fd
