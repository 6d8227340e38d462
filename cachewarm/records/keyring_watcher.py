"""The keyring, read again and again: a rotated pair is taken up within about a second, without a restart."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from cachewarm.errors import CachewarmError
from cachewarm.ledger.connect import Connection
from cachewarm.records.keyring import Keyring, load_keyring

log = structlog.get_logger("keyring")
KEYS_INTERVAL_S = 1.0
#: Until there is a ring nothing can be signed.
FIRST_INTERVAL_S = 0.2


class KeyringWatcher:
    """The keyring of this moment, read again every second."""

    def __init__(
        self, open_connection: Callable[[], Awaitable[Connection]], folder: Path, passphrase: bytes | None
    ) -> None:
        self._open, self._folder, self._passphrase = open_connection, folder, passphrase
        self.keyring = Keyring()

    async def run(self) -> None:
        """Until cancelled; what is known stays while the ledger is away."""
        connection: Connection | None = None
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await self._open()
                await self.read(connection)
            except (CachewarmError, OSError, TimeoutError) as error:
                log.warning("keys not read", error=str(error))
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(KEYS_INTERVAL_S if self.keyring.issuers else FIRST_INTERVAL_S)

    async def read(self, connection: Connection) -> Keyring:
        """Once."""
        self.keyring = await load_keyring(connection, self._folder, self._passphrase, int(time.time()), self.keyring)
        return self.keyring
