"""Errors that parsers of this package raise: a WireError or nothing.

Any other exception that bytes from outside can provoke is a bug; the fuzz targets hold the parsers to it.
The caller decides what to answer, this module knows no status numbers.
"""


class WireError(ValueError):
    """The bytes are not what the parser reads.

    reason  says what is wrong, in the words of the RFC, without quoting the bytes
    offset  counts from 0 to the byte where reading stopped; the length of the input when it ended too early
    """

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason, offset)
        self.reason = reason
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.reason} (at octet {self.offset})"


class MalformedRequest(WireError):
    """Not a DER OCSPRequest v1, or a GET path that holds none."""


class MalformedRecord(WireError):
    """Not a compact record of a known version, or one that contradicts itself."""
