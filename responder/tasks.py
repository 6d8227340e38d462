"""Tasks of an event loop, ended for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel them until they have ended.

    Once is not enough: before Python 3.12 asyncio.wait_for, which redis-py sends through, loses a cancellation that
    meets its completion.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
