"""Make the connection loop's connection to the signer, and another one when it breaks.

Only the loop reads and writes it (responder/hotpath/signer_client.pyx). While there is none, or when it does not
serve, queries are left to Python, which has a connection of its own.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from responder.errors import LINK_FAILURES
from responder.retry import Failures, Pauses, run_forever

PAUSES = Pauses(0.1, 0.5, between_s=0.1)


class SignerDialer:
    """One loop's connection; `hand_over` takes a descriptor and owns it."""

    def __init__(self, path: Path, hand_over: Callable[[int], None], count_defect: Callable[[], object]) -> None:
        self._path, self._hand_over, self._count = path, hand_over, count_defect
        self._lost = asyncio.Event()

    async def run(self) -> None:
        """Connect until cancelled. An absent signer is logged where queries fail, not here."""
        failures = Failures(name="signer dialer", event="", expected=LINK_FAILURES, count=self._count)
        await run_forever(self._keep_one, PAUSES, failures)

    def lost(self) -> None:
        """Dial again: the loop has closed the connection."""
        self._lost.set()

    async def _keep_one(self) -> None:
        self._lost.clear()
        self._hand_over(await self._connect())
        await self._lost.wait()

    async def _connect(self) -> int:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.setblocking(False)
            await asyncio.get_running_loop().sock_connect(line, str(self._path))
            return line.detach()
        except BaseException:
            line.close()
            raise
