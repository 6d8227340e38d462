from typing import final

@final
class EntryReader:
    """The entries of the CRL in `der` (a CertificateList, RFC 5280 5.1), not yet read; WireError when it is none.

    `latest` is the latest revocation time that a row may have, epoch seconds. Only a delta has removeFromCRL.
    """

    def __new__(cls, der: bytes, latest: int, is_delta: bool = False) -> EntryReader: ...
    @property
    def count(self) -> int:
        """Number of rows so far."""
    @property
    def skipped(self) -> int:
        """Number of entries without a row: their serial number is empty or over 20 bytes, so no CertID can name it."""
    @property
    def times_replaced(self) -> int:
        """Number of revocation times that were unreadable; `latest` stands for them."""
    @property
    def reasons_replaced(self) -> int:
        """Number of reasons that do not exist in this CRL; unspecified stands for them."""
    @property
    def dates_dropped(self) -> int:
        """Number of invalidity dates that were unreadable, or out of the ledger's range, and left out."""
    def read(self, room: int = 262144) -> bytes:
        """Return the next rows, at most `room` bytes (but 1024) of the COPY stream; b"" behind its end.

        WireError at an entry that is malformed, of another issuer, or has an extension that forbids the CRL.
        """

def entries_of(der: bytes) -> memoryview:
    """The entries of a CRL in that DER, one after the other, without a copy; WireError when it is none."""

def split_entries(der: bytes) -> tuple[int, int, int, int, int]:
    """Offsets in the DER of a CRL: TBSCertList, its content, the first entry, the ends of entries and TBSCertList.

    Without entries both offsets of the entries are the same. WireError when it is no CRL.
    """
