"""Large jobs in pieces: a transaction that holds the feed's lock for long stalls every other revoker."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

#: Rows of one transaction.
CHUNK = 5000


def chunks(rows: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Lists of at most `size`, in order."""
    left = iter(rows)
    while chunk := list(islice(left, size)):
        yield chunk
