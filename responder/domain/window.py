"""How long an answer is good for, and when it is due to be replaced. All times are epoch seconds."""

import zlib

#: A record is renewed somewhere between these shares of its life: before its half (BR 4.9.9), and not all at once.
EARLIEST, LATEST = 0.38, 0.48


def next_update(now: int, validity_s: float, *ends: int | None) -> int | None:
    """The end of an answer made now: never past any of `ends` (the certificate's, the responder's); None when one has
    passed already.
    """
    end = min([now + int(validity_s), *(each for each in ends if each is not None)])
    return end if end > now else None


def renewal_due(produced_at: int, end: int, name: bytes) -> int:
    """When the record of that name should be replaced; the name spreads the moments, always the same way.

    Reckoned from the signature, not from thisUpdate: that of a mirrored CRL may be long past.
    """
    share = EARLIEST + (LATEST - EARLIEST) * (zlib.crc32(name) / 0xFFFFFFFF)
    return produced_at + int((end - produced_at) * share)
