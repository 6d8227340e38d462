"""Keep over restarts which records are asked for most and which were verified, so that a cold edge fills its table.

The sketch counts for each name, in one byte that names may share, the minutes in which its record was used; counts are
halved now and then. A tag proves that this edge has had exactly this record: what Redis returns with a right tag is not
verified once more. Both come from the table, in slices, and are kept in one file of the edge's data folder, about 20
bytes per record. A process that can write there can also write the catalog, which says whose signatures are right (ADR
0022).
"""

import asyncio
import contextlib
import secrets
import struct
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from _fastocsp.table.survey import survey
from _fastocsp.table.table import Table
from responder.files import write_file
from responder.log_limits import ChangeLog

log = structlog.get_logger("usage")
USAGE_NAME = "usage"
PASS_S = 60.0
#: At the end there is no more time than this for the last pass.
LAST_PASS_S = 2.0
#: Passes between two files, and between two halvings of the counts.
PASSES_A_FILE, PASSES_A_HALVING = 10, 60
#: Chunks of the table per slice, about 15,000 records: two milliseconds.
SLICE = 64
#: Places of the sketch, bytes of it: from 64 KiB to 4 MiB, two for each record.
LEAST_PLACES, MOST_PLACES = 1 << 16, 1 << 22
#: Tags at most, 8 bytes each.
MOST_TAGS = 1 << 23
_HEAD = struct.Struct("<8s16sII")
_MAGIC = b"OCSPUSE1"
_HALVED = bytes(count // 2 for count in range(256))


@dataclass(kw_only=True)
class Usage:
    """`key` of sketch and tags, which is secret; both have a power of two of places."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    sketch: bytearray = field(default_factory=lambda: bytearray(LEAST_PLACES), repr=False)
    tags: "array[int]" = field(default_factory=lambda: array("Q", bytes(8)), repr=False)

    def dump(self) -> bytes:
        """Return the file's bytes."""
        head = _HEAD.pack(_MAGIC, self.key, len(self.sketch), len(self.tags))
        return b"".join((head, self.sketch, self.tags.tobytes()))


def load_usage(path: Path) -> Usage | None:
    """Return what the file has; None without one, or for one that is damaged or of another version."""
    try:
        octets = path.read_bytes()
        magic, key, places, tags = _HEAD.unpack_from(octets)
    except (OSError, struct.error):
        return None
    if magic != _MAGIC or len(octets) != _HEAD.size + places + 8 * tags:
        return None
    if not _is_power_of_two(places) or not _is_power_of_two(tags):
        return None
    found = Usage(key=key, sketch=bytearray(octets[_HEAD.size : _HEAD.size + places]), tags=array("Q"))
    found.tags.frombytes(octets[_HEAD.size + places :])
    return found if 0 in found.tags else None  # a search would not end in tags that are full


class UsageLog:
    """The master's part: a pass over the table each minute."""

    def __init__(self, folder: Path, table: Table) -> None:
        self._path, self._table = folder / USAGE_NAME, table
        self._usage = load_usage(self._path) or Usage()
        self._passes, self._begun = 0, time.monotonic()
        self._unwritten = ChangeLog()

    async def run(self) -> None:
        """Until cancelled. The first file is written after two passes, or a short life would leave none."""
        while True:
            await asyncio.sleep(PASS_S)
            self._passes += 1
            if self._passes % PASSES_A_HALVING == 0:
                self._usage.sketch = bytearray(self._usage.sketch.translate(_HALVED))
            await self.look(int(time.time() - PASS_S), with_tags=self._passes % PASSES_A_FILE == 2)

    async def end(self) -> None:
        """Write the file of a life that was long enough to know something."""
        if time.monotonic() - self._begun > PASS_S:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_PASS_S):
                    await self.look(int(time.time() - PASS_S), with_tags=True)

    async def look(self, since: int, *, with_tags: bool) -> None:
        """Count what was used since then; with tags, write the file."""
        usage, count = self._usage, len(self._table)
        places = min(max(_above(2 * count), LEAST_PLACES), MOST_PLACES)
        if places > len(usage.sketch):  # a place is the low bits of a hash: a name finds its old count in the copy
            usage.sketch = bytearray(usage.sketch * (places // len(usage.sketch)))
        room = min(count + count // 8 + 1024, MOST_TAGS * 3 // 4)
        tags = array("Q", bytes(8 * _above(room * 4 // 3))) if with_tags else None
        begin: int | None = 0
        while begin is not None:
            begin, _ = survey(
                self._table, begin, SLICE, max(0, since), usage.key, usage.sketch, tags, room if tags else 0
            )
            await asyncio.sleep(0)
        if tags is not None:
            usage.tags = tags
            self._write()

    def _write(self) -> None:
        try:
            write_file(self._path, self._usage.dump(), mode=0o600)
        except OSError as error:
            self._unwritten.warn("usage not written", "usage", str(error))
        else:
            self._unwritten.well("usage")
        finally:
            self._usage.tags = array("Q", bytes(8))


def _above(count: int) -> int:
    """Return the power of two above the number."""
    return 1 << count.bit_length()


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
