"""Python's view of the bounded writer: whole DER elements as bytes."""

def tlv(tag: int, content: bytes) -> bytes:
    """The element with this identifier byte (0..255) and content, its length definite and minimal (X.690 10.1)."""

def unsigned_integer(magnitude: bytes) -> bytes:
    """The INTEGER element of a non-negative big-endian number; leading zeros are dropped (X.690 8.3.2).

    Raises ValueError when `magnitude` is empty.
    """
