"""Find what a base64 text can have been before a proxy collapsed or doubled the slashes inside it (H-3).

The DER header at the front says how many symbols the whole text must have. When slashes are missing, each run of
slashes may have lost some; when there are too many, each run may have gained some. Every way to put that right is a
candidate, and the caller takes one only if it is the only one that is an OCSPRequest. Bounded in every direction; past
a bound there is no candidate at all, for a repair must never guess.
"""

import base64
import re
from collections.abc import Iterator
from itertools import islice

MAX_TEXT = 4096
MAX_RUNS = 64
MAX_LOST = 3  # slashes; more are a truncated text, not a collapsed run
MAX_GAINED = 64  # slashes
MAX_CANDIDATES = 64
HEADER_SYMBOLS = 8  # six bytes: identifier and up to five of length


def candidates(text: bytes) -> Iterator[bytes]:
    """Texts in the alphabet of RFC 4648 4 that differ from this one only in the lengths of runs of '/'.

    `text` has its percent-encoding undone.
    """
    stripped = text.lstrip(b"/").translate(bytes.maketrans(b"-_", b"+/"))
    symbols = stripped.rstrip(b"=")
    padding = len(stripped) - len(symbols)
    wanted = symbols_of_element(symbols)
    if wanted is None or len(text) > MAX_TEXT or (padding and (wanted + padding) % 4):
        return
    parts = re.split(rb"(/+)", symbols)
    runs = [len(run) for run in parts[1::2]]
    for lengths in distributions(runs, wanted - len(symbols)):
        parts[1::2] = [b"/" * length for length in lengths]
        yield b"".join(parts)


def symbols_of_element(symbols: bytes) -> int | None:
    """How many base64 symbols the DER element has whose front this is; None when it has no definite length."""
    try:
        header = base64.b64decode(symbols[:HEADER_SYMBOLS], validate=True)
    except ValueError:
        return None
    if len(header) < 6:
        return None
    width = header[1] & 0x7F if header[1] & 0x80 else 0
    if width > 4 or header[1] == 0x80:
        return None
    content = int.from_bytes(header[2 : 2 + width]) if width else header[1]
    octets = 2 + width + content
    return (octets * 8 + 5) // 6


def distributions(runs: list[int], moved: int) -> list[list[int]]:
    """Every way to lengthen (moved > 0) or shorten the runs by that many slashes in all; none when there are too many.

    A run never vanishes. Every step of the search leads to a candidate, so its cost is bounded like their number.
    """
    if len(runs) > MAX_RUNS or not -MAX_GAINED <= moved <= MAX_LOST or moved == 0:
        return []
    rooms = [moved if moved > 0 else length - 1 for length in runs]
    sign = 1 if moved > 0 else -1
    found = list(islice(spread(rooms, abs(moved)), MAX_CANDIDATES + 1))
    if len(found) > MAX_CANDIDATES:
        return []
    return [[length + sign * share for length, share in zip(runs, shares, strict=True)] for shares in found]


def spread(rooms: list[int], total: int) -> Iterator[list[int]]:
    """Every way to write `total` as a sum of one share for each room, no share larger than its room."""
    if not rooms:
        if total == 0:
            yield []
        return
    first, rest = rooms[0], rooms[1:]
    for share in range(max(0, total - sum(rest)), min(first, total) + 1):
        for shares in spread(rest, total - share):
            yield [share, *shares]
