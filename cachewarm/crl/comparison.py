"""How the entries of the next CRL differ from those of the CRLs before it, of which a piece at a time is in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from _fastocsp.crl.entry_buffer import EntryBuffer
from _fastocsp.crl.entry_comparison import EntryComparison
from _fastocsp.wire.errors import WireError
from cachewarm.crl.earlier import EarlierCRL
from cachewarm.errors import Refused

#: Serial number, revocation time, reason, invalidity date; times in epoch seconds.
Entry = tuple[bytes, int, int, int | None]


@dataclass(frozen=True)
class Difference:
    """The entries of an earlier CRL that the new ones do not revoke, and how many entries it has.

    `entries_sha256` is of the new entries: a CRL with these is one for which this holds.
    """

    crl: EarlierCRL
    gone: list[Entry]
    count: int
    entries_sha256: bytes


async def compare(earlier: Sequence[EarlierCRL], entries: EntryBuffer) -> list[Difference]:
    """Compare the entries of the next CRL with those of each of these; Refused when an earlier one cannot be read."""
    digest = sha256(entries).digest()
    return [await _compared(crl, entries, digest) for crl in earlier]


async def _compared(crl: EarlierCRL, entries: EntryBuffer, digest: bytes) -> Difference:
    comparison = EntryComparison(entries, crl.is_delta)
    gone: list[Entry] = []
    pieces = crl.entry_pieces()
    try:
        piece = await anext(pieces, None)
        while piece is not None:
            feeding = asyncio.create_task(asyncio.to_thread(comparison.feed, piece))
            try:
                piece = await anext(pieces, None)  # from the ledger, while the one before is compared
            finally:
                gone += await feeding
        comparison.finish()
    except WireError as error:
        raise Refused(f"CRL {crl.number} cannot be compared with the next one: {error}") from error
    return Difference(crl, gone, comparison.count, digest)
