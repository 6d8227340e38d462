"""Log lines that every request could cause: an outage is logged when it begins and ends, the rest at a limited rate."""

import time

import structlog

log = structlog.get_logger("edge")


class OutageLog:
    """Logs the beginning and the end of one tier's outages."""

    def __init__(self, tier: str) -> None:
        self._tier = tier
        self._since: float | None = None

    def failed(self, error: object) -> None:
        """Log the beginning of an outage."""
        if self._since is None:
            self._since = time.monotonic()
            log.warning("tier is away", tier=self._tier, error=str(error) or type(error).__name__)

    def answered(self) -> None:
        """Log the end of an outage, if there was one."""
        if self._since is not None:
            log.info("tier is back", tier=self._tier, seconds=round(time.monotonic() - self._since, 1))
            self._since = None


class RateLimitedLog:
    """Logs at most one line per `pause_s` seconds, with the number of lines left out since the last one."""

    def __init__(self, pause_s: float = 10.0) -> None:
        self._pause = pause_s
        self._next = 0.0
        self._left_out = 0

    def warn(self, event: str, **words: object) -> None:
        """Log the event, or count it as left out."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        log.warning(event, left_out=self._left_out, **words)
        self._next, self._left_out = now + self._pause, 0
