from typing import final

@final
class FileMap:
    """The first `size` bytes of an open file, read-only, as long as this object lives; the descriptor may be closed.

    Raises ValueError for size 0, OSError when the kernel does not map it. The file must not be cut shorter meanwhile.
    """

    def __new__(cls, fd: int, size: int) -> FileMap: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
