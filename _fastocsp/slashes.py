"""What a base64 text can have been before a proxy collapsed or doubled the slashes inside it (H-3).

The DER header at the front says how many symbols the whole text must have. When slashes are missing, each run of
slashes may have lost some; when there are too many, each run may have gained some. Every way to put that right is a
candidate, and the caller takes one only if it is the only one that is an OCSPRequest. Bounded: at most MAX_MOVED
slashes and MAX_CANDIDATES candidates, otherwise none at all, for a repair must never guess.
"""

import base64
import re
from collections.abc import Iterator
from math import comb

MAX_TEXT = 4096
MAX_MOVED = 8
MAX_CANDIDATES = 64
HEADER_SYMBOLS = 8  # six octets: identifier and up to five of length


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


def distributions(runs: list[int], moved: int) -> Iterator[list[int]]:
    """Every way to lengthen (moved > 0) or shorten the runs by so many slashes in all; no run vanishes."""
    in_bounds = runs and 0 < abs(moved) <= MAX_MOVED
    if in_bounds and comb(len(runs) + abs(moved) - 1, abs(moved)) <= MAX_CANDIDATES:
        yield from _distributions(runs, moved)


def _distributions(runs: list[int], moved: int) -> Iterator[list[int]]:
    first, rest = runs[0], runs[1:]
    if not rest:
        if first + moved >= 1:
            yield [first + moved]
        return
    step = 1 if moved > 0 else -1
    for here in range(0, moved + step, step):
        if first + here >= 1:
            for others in _distributions(rest, moved - here):
                yield [first + here, *others]
