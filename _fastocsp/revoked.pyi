from collections.abc import Mapping

from typing_extensions import Buffer

from _fastocsp.values import Groups, Item

def parse_items(payload: bytes) -> list[Item]:
    """(op, issuer_no, serial, revocation_time, reason) of each feed item; WireError when one is cut short."""

def image_size(groups: Mapping[tuple[int, int], int], delta_capacity: int) -> int:
    """Octets of an image with {(issuer_no, serial_len): row count} and room for `delta_capacity` deltas."""

class RevokedImage:
    """A view of one image in a buffer it does not own: `build`, then `apply` by one writer, `find` by anybody."""

    def __init__(self, buffer: Buffer, writable: bool = False) -> None: ...
    def build(self, groups: Groups, delta_capacity: int) -> None:
        """Lay the image out; ValueError when the buffer is too small or read-only."""
    def check(self) -> None:
        """ValueError unless the buffer holds a whole image."""
    def apply(self, op: int, issuer_no: int, serial: bytes, revocation_time: int, reason: int) -> bool:
        """Append one item, visible to every reader on return; False when the delta is full."""
    def find(self, issuer_no: int, serial: bytes) -> tuple[int, int] | None:
        """(revocation_time, reason), or None when the serial is not in the set."""
    def compact(self) -> Groups:
        """Sorted rows of image and delta together."""
    @property
    def listed(self) -> int: ...
    @property
    def delta_count(self) -> int: ...
