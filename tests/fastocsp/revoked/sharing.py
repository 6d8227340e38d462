"""Processes that share memory, for the tests of what is lock-free: they run in interpreters of their own."""

import hashlib
import time
from pathlib import Path

from _fastocsp.revoked.image import RevokedImage
from _fastocsp.shared.bucket import Bucket
from _fastocsp.shared.counters import Counters
from responder.files import open_map

PAGE, IMAGE, LIMITER = "page", "image", "limiter"
SHOWN, END = 0, 1  # slots of the page
ISSUERS = 3


def item_of(number: int) -> tuple[int, int, bytes, int, int]:
    """The number-th change: every field follows from the number, and a torn mixture of two would show."""
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    serial = digest[: 1 + number % 20] if number % 20 > 7 else number.to_bytes(8, "big")
    return 1, 1 + number % ISSUERS, serial, int.from_bytes(digest[20:24], "big"), digest[24]


def read_while_written(folder: Path) -> tuple[int, int]:
    """(look-ups, changes seen): after the page says n, the n-th change is in the image, whole."""
    page, image = Counters(open_map(folder / PAGE)), RevokedImage(open_map(folder / IMAGE))
    lookups = seen = 0
    while True:
        at_end = page.get(END)
        shown = page.get(SHOWN)
        for number in range(max(0, shown - 50), shown + 50):
            _, issuer_no, serial, revocation_time, reason = item_of(number)
            found = image.find(issuer_no, serial)
            lookups += 1
            if found != (revocation_time, reason) and (found is not None or number < shown):
                raise AssertionError(f"change {number} of {shown}: {found}")
        seen = max(seen, shown)
        if at_end:
            return lookups, seen


def write(folder: Path, seconds: float, capacity: int) -> int:
    """Apply changes until the time or the room is over; the number of them."""
    page = Counters(open_map(folder / PAGE, write=True))
    image = RevokedImage(open_map(folder / IMAGE, write=True), writable=True)
    end, number = time.monotonic() + seconds, 0
    while number < capacity and time.monotonic() < end:
        assert image.apply(*item_of(number))
        number += 1
        page.put(SHOWN, number)
        if number % 50 == 0:
            time.sleep(0.0005)
    page.put(END, 1)
    return number


def take(folder: Path, per_minute: int, asks: int, now_ns: int) -> int:
    """How many of so many requests of one address the limiter lets through at one moment."""
    bucket = Bucket(open_map(folder / LIMITER, write=True), per_minute, 1)
    return sum(bucket.allow(b"\x0a\0\0\1", now_ns) for _ in range(asks))
