from typing import final

@final
class EntryReader:
    """The entries of the CRL in `der` (a CertificateList, RFC 5280 5.1), not yet read; WireError when it is none.

    `latest` is the latest revocation time that a row may have, epoch seconds. Only a delta has removeFromCRL.
    """

    def __new__(cls, der: bytes, latest: int, is_delta: bool = False) -> EntryReader: ...
    @property
    def count(self) -> int:
        """Entries read so far."""
    def read(self, room: int = 262144) -> bytes:
        """The next rows, at most `room` octets (but 1024) of the COPY stream; b"" behind its end.

        WireError at an entry that is malformed, of another issuer, or has an extension that forbids the CRL.
        """
