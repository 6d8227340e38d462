"""What the agent shows its workers: one page of numbers and the current image of the revoked set, in shared files.

The page says which image file is current and until when `good` may be said. Order of every change: the image first,
the page second, the acknowledgement last; so a worker that sees a lease sees every revocation the lease stands for.
Files live in the run folder; a restart of the agent replaces them under new names and workers map the new ones.
"""

import mmap
import os
from pathlib import Path

from _fastocsp.counters import Counters
from _fastocsp.revoked import RevokedImage, image_size
from _fastocsp.values import Groups, Item
from responder.feed.machine import Position, Renew, State

PAGE_SIZE = 4096
PAGE_NAME = "feed.page"
MAGIC = 0x31504646_50534346
# u64 slots of the page; responder/edge/gate.pyx reads the first five
SLOT_MAGIC, SLOT_IMAGE, SLOT_UNTIL_BOOT, SLOT_UNTIL_MONO, SLOT_AS_OF = range(5)
SLOT_GENERATION, SLOT_SEQ, SLOT_HEAD, SLOT_STATE, SLOT_CATALOG, SLOT_ORPHANS = range(5, 11)
DELTA_CAPACITY = 1 << 16


def map_file(path: Path, size: int) -> mmap.mmap:
    """A new zeroed shared file of that size, mode 0600, under this name."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, size)
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


def open_map(path: Path, *, write: bool = False) -> mmap.mmap:
    """An existing shared file; FileNotFoundError when its writer has not made it yet."""
    with path.open("r+b" if write else "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if write else mmap.ACCESS_READ)


def image_path(folder: Path, number: int) -> Path:
    """The file of image `number`."""
    return folder / f"revoked-{number}.map"


class SharedFeed:
    """The writer's side; one a host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for left in folder.glob("revoked-*.map"):
            left.unlink()
        self._number = 0
        self.image: RevokedImage | None = None
        self._page = Counters(map_file(folder / (PAGE_NAME + ".new"), PAGE_SIZE))
        self._put(SLOT_MAGIC, MAGIC)
        (folder / (PAGE_NAME + ".new")).rename(folder / PAGE_NAME)

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
            image_path(self._folder, self._number).unlink(missing_ok=True)
        self._number = number

    def apply(self, items: list[Item]) -> None:
        """Show these changes; the image is renewed when its delta is full."""
        if self.image is None:
            raise RuntimeError("no image yet")
        for item in items:
            if not self.image.apply(*item):
                self.replace(self.image.compact())
                self.image.apply(*item)

    def renew(self, lease: Renew) -> None:
        """Allow `good` until the end of this lease."""
        self._put(SLOT_AS_OF, lease.as_of)
        self._put(SLOT_UNTIL_MONO, lease.until_mono)
        self._put(SLOT_UNTIL_BOOT, lease.until_boot)

    def show(self, position: Position, head: int, state: State) -> None:
        """For metrics and /ready; nothing safe depends on it."""
        self._put(SLOT_GENERATION, position.generation)
        self._put(SLOT_SEQ, position.seq)
        self._put(SLOT_HEAD, head)
        self._put(SLOT_STATE, int(state))

    def show_catalog(self, version: int) -> None:
        """Tell the workers that the catalog changed."""
        self._put(SLOT_CATALOG, version)

    def show_orphans(self, count: int) -> None:
        """Entries that vanished from the ledger and are kept."""
        self._put(SLOT_ORPHANS, count)

    def _put(self, slot: int, value: int) -> None:
        self._page.put(slot, value)


class FeedPage:
    """The reader's side of the page, for what is not the gate."""

    def __init__(self, folder: Path) -> None:
        self._page = Counters(open_map(folder / PAGE_NAME))
        if self.get(SLOT_MAGIC) != MAGIC:
            raise ValueError("not a feed page")

    def get(self, slot: int) -> int:
        """One number."""
        return self._page.get(slot)
