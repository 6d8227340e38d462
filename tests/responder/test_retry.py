"""A loop that never ends: failures are logged, counted and backed off."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from responder.retry import Failures, Pauses, run_forever

QUICK = Pauses(0.001, 0.004, healthy_s=10.0)


class Broken(Exception):
    """Fatal in these tests."""


class Script:
    """Work that raises what the script says, then ends the test by a fatal error."""

    def __init__(self, *steps: Exception | None) -> None:
        self.steps, self.begun = list(steps), list[float]()

    async def __call__(self) -> None:
        self.begun.append(time.monotonic())
        if not self.steps:
            raise Broken
        step = self.steps.pop(0)
        if step is not None:
            raise step


async def run(script: Script, pauses: Pauses = QUICK) -> tuple[list[dict[str, object]], int]:
    """The log, and how many defects were counted."""
    counted: list[None] = []
    failures = Failures(
        name="script",
        event="script stopped",
        expected=(OSError,),
        fatal=(Broken,),
        count=lambda: counted.append(None),
    )
    with capture_logs() as lines, pytest.raises(Broken):
        await run_forever(script, pauses, failures)
    return [dict(line) for line in lines], len(counted)


async def test_unforeseen_failure_is_logged_with_traceback_counted_and_run_again() -> None:
    """Each time: it is a defect."""
    lines, counted = await run(Script(KeyError("a"), KeyError("a"), ZeroDivisionError()))
    assert counted == 3
    assert [type(line["exc_info"]) for line in lines] == [KeyError, KeyError, ZeroDivisionError]
    assert {line["event"] for line in lines} == {"unforeseen failure"}
    assert [line["count"] for line in lines] == list(range(1, len(lines) + 1))
    assert {line["loop"] for line in lines} == {"script"}


async def test_expected_failure_is_logged_once_until_the_reason_changes_or_a_run_succeeds() -> None:
    """An outage of minutes is one line."""
    lines, counted = await run(Script(OSError("a"), OSError("a"), OSError("b"), None, OSError("b")))
    assert counted == 0
    assert [line["error"] for line in lines] == ["a", "b", "b"]


async def test_pause_grows_to_its_limit_and_starts_over_after_a_run_that_succeeded() -> None:
    """0.02, 0.04, 0.04 s, then 0.02 again."""
    script = Script(OSError(), OSError(), OSError(), None, OSError())
    await run(script, Pauses(0.02, 0.04, healthy_s=10.0))
    waits = [after - before for before, after in zip(script.begun, script.begun[1:], strict=False)]
    assert [wait >= pause for wait, pause in zip(waits, (0.02, 0.04, 0.04, 0.0, 0.02), strict=True)] == [True] * 5
    assert waits[4] < 0.04


async def test_event_ends_the_loop_and_its_pause() -> None:
    """A stop does not wait for the pause of an hour."""
    until = asyncio.Event()
    failures = Failures(name="script", expected=(OSError,))
    loop = asyncio.create_task(run_forever(Script(OSError()), Pauses(3600, 3600), failures, until))
    await asyncio.sleep(0)
    until.set()
    await asyncio.wait_for(loop, 5)
