"""A CA signer in a thread of the test's process: cheap, and clients that block may be called from anywhere."""

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path

from cachewarm.ca_signer.client import CASigner, RemoteCAKeys
from cachewarm.ca_signer.key_store import KeyStore
from cachewarm.ca_signer.server import CASignerServer
from cachewarm.ca_signer.service import SigningService
from cachewarm.ledger.connect import open_pool

RESPONDER_S = 30 * 86400


class ThreadedCASigner:
    """Serves the issuers of the ledger at that URL; started and stopped as often as wanted."""

    def __init__(self, socket: Path, url: str, uids: tuple[int, ...] = ()) -> None:
        self.socket, self._url, self._uids = socket, url, uids
        self.keys = RemoteCAKeys(CASigner(socket, 10.0))
        self._thread: threading.Thread | None = None

    def start(self) -> "ThreadedCASigner":
        """Until it listens."""
        begun: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(begun)), daemon=True)
        self._thread.start()
        begun.result(30)
        return self

    def stop(self) -> None:
        """Until it has gone."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(30)
            self._thread = None
            self.socket.unlink(missing_ok=True)

    async def _run(self, begun: "Future[None]") -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        pool = await open_pool(self._url, size=2)
        self.service = SigningService(pool, KeyStore(None, None), RESPONDER_S)
        self.server = CASignerServer(self.service, self._uids)
        listening = await self.server.listen(self.socket)
        begun.set_result(None)
        await self._end.wait()
        listening.close()
        pool.terminate()
