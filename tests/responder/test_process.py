"""Tasks end when they are told to."""

import asyncio
import contextlib

from responder.process import end_tasks


async def test_a_task_that_loses_a_cancellation_is_told_again() -> None:
    """The first cancellation is swallowed, as asyncio.wait_for may do: the task ends all the same, soon."""

    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def failing() -> None:
        raise OSError("before")

    tasks = [asyncio.create_task(deaf()), asyncio.create_task(failing())]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks(tasks)
    assert tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), OSError)
