"""Work that never ends: run it, and run it again after a failure.

`stamina` and `tenacity` retry a call until it succeeds and then return; their pauses grow with the number of attempts
and never shrink. A loop of ours must do the opposite: it runs for weeks, its pause starts over once it has been well,
and a failure that no code foresaw must be logged with its traceback and counted without ending the loop. That is
forty lines, so there is no dependency.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from responder.errors import reason

log = structlog.get_logger("loop")


class Pauses(NamedTuple):
    """Seconds between two runs.

    `first_s` after a failure, doubled with each one that follows, up to `longest_s`; the growth starts over once a run
    lasted `healthy_s`. `between_s` after a run that returned.
    """

    first_s: float = 0.2
    longest_s: float = 5.0
    healthy_s: float = 10.0
    between_s: float = 0.0


@dataclass(kw_only=True)
class Failures:
    """How the failures of one loop are treated.

    `expected` ones are part of normal operation (a lost link): a warning, `event`, when the reason changes, or
    nothing where `event` is empty. `fatal`
    ones are raised. Every other exception is a defect: logged with its traceback and with how many there were, and
    counted by `count` where the process has metrics.
    """

    name: str
    event: str = "loop failed"
    expected: tuple[type[Exception], ...] = ()
    fatal: tuple[type[Exception], ...] = ()
    count: Callable[[], object] | None = None
    unforeseen: int = field(default=0, init=False)
    _last: str | None = field(default=None, init=False)

    def note(self, error: Exception, pause_s: float) -> None:
        """Log and count `error`; raise it if it is fatal."""
        if isinstance(error, self.fatal):
            raise error
        if not isinstance(error, self.expected):
            self.unforeseen += 1
            log.error("unforeseen failure", loop=self.name, again_in_s=pause_s, count=self.unforeseen, exc_info=error)
            if self.count is not None:
                self.count()
        elif self.event and reason(error) != self._last:
            self._last = reason(error)
            log.warning(self.event, loop=self.name, error=reason(error), again_in_s=pause_s)

    def recovered(self) -> None:
        """Log the next expected failure again, whatever its reason."""
        self._last = None


async def run_forever(
    work: Callable[[], Awaitable[object]], pauses: Pauses, failures: Failures, until: asyncio.Event | None = None
) -> None:
    """Run `work` until cancelled, or until the event is set; raise only the failures that are fatal."""
    pause = pauses.first_s
    while until is None or not until.is_set():
        begun = time.monotonic()
        try:
            await work()
        except Exception as error:
            if time.monotonic() - begun >= pauses.healthy_s:
                failures.recovered()
                pause = pauses.first_s
            failures.note(error, pause)
            rest, pause = pause, min(2 * pause, pauses.longest_s)
        else:
            failures.recovered()
            rest, pause = pauses.between_s, pauses.first_s
        await _pause(rest, until)


async def _pause(seconds: float, until: asyncio.Event | None) -> None:
    if until is None:
        await asyncio.sleep(seconds)
        return
    try:
        await asyncio.wait_for(until.wait(), seconds)
    except TimeoutError:
        return
