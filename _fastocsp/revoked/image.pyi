"""The set of revoked serial numbers: sorted rows and a delta log in memory that processes share."""

from collections.abc import Mapping
from typing import final

from typing_extensions import Buffer

from _fastocsp.wire.types import Groups

def image_size(groups: Mapping[tuple[int, int], int], delta_capacity: int) -> int:
    """Bytes of an image with {(issuer_no, serial_len): row count} and room for `delta_capacity` deltas."""

@final
class RevokedImage:
    """A view of one image in a buffer that is held, not copied: `build`, then `apply` by one writer, `find` by anybody.

    No locks: an item is seen whole or not at all, and by everybody once `apply` has returned. Serials are big-endian
    keys (wire/serial.pxd), 1..21 bytes; an empty one is the fence of the issuer. `find`
    trusts an image that came from elsewhere only after `check`.
    """

    def __new__(cls, buffer: Buffer, writable: bool = False) -> RevokedImage: ...
    def build(self, groups: Groups, delta_capacity: int) -> None:
        """Lay the image out; ValueError when the buffer is too small or read-only. No process may be reading it yet."""

    def check(self) -> None:
        """ValueError unless the buffer holds a whole image."""

    def apply(self, op: int, issuer_no: int, serial: bytes, revocation_time: int, reason: int) -> bool:
        """Append one item, visible to every reader on return; False when the delta is full.

        op 1 revokes, any other takes back. ValueError for a read-only image or a serial of a wrong length.
        """

    def find(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        """(revocation_time, reason), or None when the serial is not in the set."""

    def is_fenced(self, issuer_no: int) -> bool:
        """True when the set has a fence of the issuer: nothing but listed revocations may be answered for it."""

    def compact(self) -> Groups:
        """Sorted rows of image and delta together."""

    @property
    def fenced(self) -> int:
        """Issuers that are fenced, deltas counted."""

    @property
    def listed(self) -> int:
        """Rows of the image, deltas not counted."""

    @property
    def delta_count(self) -> int:
        """Items applied since `build`."""
