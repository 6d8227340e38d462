"""Entity tags of the CRLs that are served, and the head of a 304."""

from collections.abc import Iterable
from typing import final

@final
class CRLTags:
    """An index that never changes: (name, opaque-tag with its quotes, header lines, nextUpdate) of each CRL."""

    def __new__(cls, crls: Iterable[tuple[bytes, bytes, bytes, int]] = ()) -> CRLTags: ...
    def answer(self, name: bytes, if_none_match: bytes, now: int, keep_alive: bool = True) -> bytes | None:
        """The 304 that the hot lane sends; None when it leaves the request to another: no such CRL, another tag, or one
        that has ended.
        """
