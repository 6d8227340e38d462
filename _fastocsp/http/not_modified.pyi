"""Entity tags of the CRLs that are served, and the head of a 304."""

from collections.abc import Iterable
from typing import final

@final
class CRLTags:
    """An index that never changes: (name, opaque-tag, header lines, thisUpdate, nextUpdate, max-age) of each CRL.

    The tag has its quotes, times are epoch seconds, and max-age is the most that caches may keep the CRL, in seconds.
    """

    def __new__(cls, crls: Iterable[tuple[bytes, bytes, bytes, int, int, int]] = ()) -> CRLTags: ...
    def answer(
        self, name: bytes, if_none_match: bytes, if_modified_since: bytes, now: int, keep_alive: int = 1
    ) -> bytes | None:
        """The 304 that the hot lane sends; None when it leaves the request to another: no such CRL, another tag, an
        older date or none of the preferred form, or a CRL that has ended. A field that is absent is b"".
        """
