"""An outage of a tier, said once when it begins and once when it is over; never a line for each request."""

import time

import structlog

log = structlog.get_logger("edge")


class Outage:
    """What is known of one tier's health by those who ask it."""

    def __init__(self, tier: str) -> None:
        self._tier = tier
        self._since: float | None = None

    def failed(self, error: object) -> None:
        """It did not answer."""
        if self._since is None:
            self._since = time.monotonic()
            log.warning("tier is away", tier=self._tier, error=str(error) or type(error).__name__)

    def answered(self) -> None:
        """It did."""
        if self._since is not None:
            log.info("tier is back", tier=self._tier, seconds=round(time.monotonic() - self._since, 1))
            self._since = None


class Seldom:
    """A line that could come for every request: at most one in `pause_s`, with the number of those left out."""

    def __init__(self, pause_s: float = 10.0) -> None:
        self._pause = pause_s
        self._next = 0.0
        self._left_out = 0

    def warn(self, event: str, **words: object) -> None:
        """Say it, or count it."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        log.warning(event, left_out=self._left_out, **words)
        self._next, self._left_out = now + self._pause, 0
