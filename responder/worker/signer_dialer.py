"""Who makes the connection loop's line to the signer, and another one when it breaks.

The loop alone speaks on it (line.pyx). While there is none, or when it is of no use, questions come to Python, which
has a connection of its own.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

PAUSE_S = 0.1


class Dial:
    """One loop's line; `hand_over` takes a descriptor for good."""

    def __init__(self, path: Path, hand_over: Callable[[int], None]) -> None:
        self._path, self._hand_over = path, hand_over
        self._lost = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(OSError):
                self._lost.clear()
                self._hand_over(await self._connect())
                await self._lost.wait()
            await asyncio.sleep(PAUSE_S)

    def lost(self) -> None:
        """The loop has closed what it was handed."""
        self._lost.set()

    async def _connect(self) -> int:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.setblocking(False)
            await asyncio.get_running_loop().sock_connect(line, str(self._path))
            return line.detach()
        except BaseException:
            line.close()
            raise
