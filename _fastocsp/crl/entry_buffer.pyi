from typing import final

@final
class EntryBuffer:
    """The entries of a CRL, as bytes; they can be read as a buffer."""

    def __new__(cls) -> EntryBuffer: ...
    def __len__(self) -> int:
        """Number of bytes."""
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def framed(self, before: bytes, after: bytes) -> bytes:
        """Return the bytes between `before` and `after`, without a second copy; the buffer is empty afterwards.

        BufferError while a memoryview of the buffer exists, and when they were taken already.
        """
