"""Notice a proxy that is not in TRUSTED_PROXIES: to the rate limit all of its clients are one."""

import ipaddress

import structlog

from _fastocsp.shared.counters import Counters
from responder.telemetry import INDEX

log = structlog.get_logger("edge")
#: Seconds that `/ready` warns after clients of such a proxy were refused.
WARNS_FOR_S = 600.0
_FORWARDED, _LIMITED = INDEX["forwarded_ignored"], INDEX["answers:limited"]


class ProxyWatch:
    """Logs the first such peer of this worker, and knows when requests like its own were last refused.

    The two counts of one tick are compared, not single requests, so that the hot lane has nothing more to do.
    """

    def __init__(self) -> None:
        self._seen = False
        self._counts: tuple[int, int] | None = None
        self._limited_at: float | None = None

    def ignored(self, peer: bytes) -> None:
        """Log the peer, whose X-Forwarded-For was ignored; `peer` is its packed address. Only once."""
        if self._seen:
            return
        self._seen = True
        log.warning("x-forwarded-for ignored", peer=str(ipaddress.ip_address(peer)), setting="FASTOCSP_TRUSTED_PROXIES")

    def tick(self, counters: Counters, now: float) -> None:
        """Compare the counters of this worker with those of the tick before; `now` is monotonic, in seconds."""
        counts = counters.get(_FORWARDED), counters.get(_LIMITED)
        if self._counts is not None and all(map(int.__lt__, self._counts, counts)):
            self._limited_at = now
        self._counts = counts

    def is_limiting(self, now: float) -> bool:
        """Return whether requests were refused by the rate limit lately while such a peer sent some."""
        return self._limited_at is not None and now - self._limited_at < WARNS_FOR_S
