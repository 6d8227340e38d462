"""What stands in an issuer's next complete CRL, and for how long it holds. Pure: rows and times in, values out.

RFC 5280 3.3: an entry stays until it has appeared on one CRL issued after its certificate's end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cachewarm.errors import Refused
from responder.domain.issuer import Issuer

#: Two clocks (the ledger's and the warmer's) and a transaction under way stay within this.
SETTLED_S = 600


class RevokedEntry(NamedTuple):
    """An entry of revokedCertificates; times in epoch seconds."""

    serial: bytes
    revoked_at: int
    reason: int
    invalidity_date: int | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked certificate of the ledger: its entry, its end, and when the ledger took the revocation down."""

    entry: RevokedEntry
    not_after: int
    recorded_at: int


def entries(revocations: Iterable[Revocation], last_this_update: int | None) -> Iterator[RevokedEntry]:
    """The entries of the next CRL, in the order given; `last_this_update` is that of the last published one."""
    return (each.entry for each in revocations if not may_go(each, last_this_update))


def may_go(revocation: Revocation, last_this_update: int | None) -> bool:
    """Whether the last CRL was issued after the certificate's end and had the entry on it.

    It had when the revocation was taken down before its thisUpdate; the margin keeps an entry on one CRL too many
    rather than on none.
    """
    if last_this_update is None:
        return False
    return max(revocation.not_after, revocation.recorded_at) + SETTLED_S < last_this_update


def window(issuer: Issuer, now: int, validity_s: int) -> tuple[int, int]:
    """The thisUpdate and nextUpdate of a CRL signed now; it does not outlive the issuer's certificate."""
    if now >= issuer.not_after:
        raise Refused(f"the certificate of {issuer.issuer_id} has ended: nobody would accept its CRL")
    return now, min(now + validity_s, issuer.not_after)
