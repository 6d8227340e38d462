from typing import final

from _fastocsp.crl.entry_buffer import EntryBuffer

@final
class EntryWriter:
    """Writes the entries of a CRL from the bytes of a `COPY (select serial, revoked_at, reason, invalidity_date,
    certificate_issuer ...) TO STDOUT (FORMAT binary)`: bytea, int8, int2, int8 or NULL, bytea or NULL.

    With `shards` each entry is also written to the shard of its serial. Only a delta CRL has removeFromCRL.
    """

    def __new__(cls, shards: int = 0, is_delta: bool = False) -> EntryWriter: ...
    @property
    def count(self) -> int:
        """Number of entries that were written."""
    @property
    def latest(self) -> int:
        """The latest revocation time so far, epoch seconds; 0 without entries."""
    def feed(self, piece: bytes | bytearray) -> None:
        """The next bytes, cut anywhere; WireError when they are no such stream, name a serial number twice or out of
        its order, or a reason that may not stand there.
        """
    def take_parts(self) -> list[EntryBuffer]:
        """Content bytes of revokedCertificates: of all, then of each shard. WireError: the stream has not ended."""

def shard_of(serial_number: bytes, shards: int) -> int:
    """Which of that many shards a serial number (big-endian, no leading zeros) is in: 0 .. shards - 1. It never
    changes.
    """

def time_element(seconds: int, generalized: bool = False) -> bytes:
    """DER of a Time: UTCTime before 2050 unless `generalized`, GeneralizedTime from 2050; ValueError past 9999."""
