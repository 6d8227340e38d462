"""Log lines that every request could cause: an outage is logged when it begins and ends, the rest at a limited rate."""

import logging
import time

import structlog

log = structlog.get_logger("edge")
MAX_KINDS, MAX_MESSAGE = 64, 500


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
        """Log the event as a warning, or count it as left out."""
        self.log("warning", event, **words)

    def log(self, level: str, event: str, **words: object) -> None:
        """Log the event at that level, or count it as left out."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        getattr(log, level)(event, left_out=self._left_out, **words)
        self._next, self._left_out = now + self._pause, 0


class ChangeLog:
    """Logs the state of each of many things when it changes, and no line while it stays."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def warn(self, event: str, thing: str, reason: str, **words: object) -> None:
        """Log the event unless this reason was the last one logged for `thing`."""
        if self._reasons.get(thing) != reason:
            self._reasons[thing] = reason
            log.warning(event, error=reason, **words)

    def well(self, thing: str) -> None:
        """Log the next reason of `thing`, whatever it is."""
        self._reasons.pop(thing, None)


class LimitedHandler(logging.Handler):
    """Lines of the standard library's loggers as ours: structured, and each kind at most once in `pause_s` seconds.

    uvicorn and asyncio log what strangers send, one line per request and unstructured.
    """

    def __init__(self, pause_s: float = 10.0) -> None:
        super().__init__()
        self._pause = pause_s
        self._kinds: dict[str, RateLimitedLog] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record, or count it as left out."""
        kind = f"{record.name}:{record.msg}"
        limited = self._kinds.setdefault(kind if len(self._kinds) < MAX_KINDS else "", RateLimitedLog(self._pause))
        words = {} if record.exc_info is None else {"exc_info": record.exc_info}
        limited.log(record.levelname.lower(), record.getMessage()[:MAX_MESSAGE], logger=record.name, **words)


def limit_library_logs() -> None:
    """Send everything that libraries log through one LimitedHandler."""
    logging.root.handlers[:] = [LimitedHandler()]
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
