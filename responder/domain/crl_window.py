"""Until when a mirrored CRL lets anybody call a certificate good, and who may rely on it.

`good` from a CRL says: it is not on the CRL, as of the CRL's thisUpdate, until its nextUpdate at most (RFC 6960 2.4,
4.2.2.1). The CRL's entries come over the feed, the window beside it; so a window counts only for who has heard the feed
up to its place. Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple


class CRLWindow(NamedTuple):
    """thisUpdate and nextUpdate of the status, epoch seconds; the place of the feed that has the CRL's entries."""

    this_update: int
    next_update: int
    generation: int
    seq: int


def heard_window(windows: Sequence[CRLWindow], generation: int, seq: int) -> CRLWindow | None:
    """The first window, of the newest first, whose entries are known to who is at that place of the feed."""
    return next((each for each in windows if (each.generation, each.seq) <= (generation, seq)), None)
