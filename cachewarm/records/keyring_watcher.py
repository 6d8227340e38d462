"""The keyring, read again and again: a rotated pair is taken up within about a second, without a restart."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cachewarm.errors import CachewarmError
from cachewarm.ledger.connect import Connection
from cachewarm.records.keyring import Keyring, load_keyring
from responder.errors import LINK_FAILURES
from responder.retry import Failures, Pauses, run_forever

KEYS_INTERVAL_S = 1.0
#: Until there is a ring nothing can be signed.
FIRST_INTERVAL_S = 0.2
PAUSES = Pauses(FIRST_INTERVAL_S, KEYS_INTERVAL_S)


class KeyringWatcher:
    """The keyring of this moment, read again every second."""

    def __init__(
        self,
        open_connection: Callable[[], Awaitable[Connection]],
        folder: Path,
        passphrase: bytes | None,
        count_defect: Callable[[], object] | None = None,
    ) -> None:
        self._open, self._folder, self._passphrase = open_connection, folder, passphrase
        self._count = count_defect
        self.keyring = Keyring()

    async def run(self) -> None:
        """Until cancelled; the last keyring stays while the ledger is away."""
        failures = Failures(
            name="keyring", event="keys not read", expected=(CachewarmError, *LINK_FAILURES), count=self._count
        )
        await run_forever(self._read_repeatedly, PAUSES, failures)

    async def _read_repeatedly(self) -> None:
        connection = await self._open()
        try:
            while True:
                await self.read(connection)
                await asyncio.sleep(KEYS_INTERVAL_S if self.keyring.issuers else FIRST_INTERVAL_S)
        finally:
            connection.terminate()

    async def read(self, connection: Connection) -> Keyring:
        """Once."""
        self.keyring = await load_keyring(connection, self._folder, self._passphrase, int(time.time()), self.keyring)
        return self.keyring
