"""Which entries an issuer's next complete CRL still has, and for how long a CRL holds. Pure: times in, times out."""

from datetime import datetime, timedelta
from typing import NamedTuple

from cachewarm.errors import Refused
from cachewarm.ledger.revoked_rows import NOTHING_EXPIRED
from responder.domain.issuer import Issuer

#: Two clocks (the ledger's and the warmer's) and a transaction under way stay within this.
SETTLED_S = 600


class RevokedEntry(NamedTuple):
    """An entry of revokedCertificates; times in epoch seconds."""

    serial: bytes
    revoked_at: int
    reason: int
    invalidity_date: int | None = None


def expired_before(last_this_update: datetime | None) -> datetime:
    """Return the time before which expired entries have been on a CRL after their certificate's end (RFC 5280 3.3).

    The margin keeps an entry on one CRL too many rather than on none.
    """
    return NOTHING_EXPIRED if last_this_update is None else last_this_update - timedelta(seconds=SETTLED_S)


def window(issuer: Issuer, now: int, validity_s: int) -> tuple[int, int]:
    """The thisUpdate and nextUpdate of a CRL signed now; it does not outlive the issuer's certificate."""
    if now >= issuer.not_after:
        raise Refused(f"the certificate of {issuer.issuer_id} has expired: no client would accept its CRL")
    return now, min(now + validity_s, issuer.not_after)
