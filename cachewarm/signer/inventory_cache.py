"""Which serial numbers were issued, from memory when it was asked before, else from the ledger in one question a turn.

That a certificate was issued never changes while it is valid, so a positive answer is kept; a negative one never is:
the certificate may be issued a moment later. A ledger that does not answer costs one second, and for a second after
that nothing: clients that get `revoked` all the same must not wait for it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog

from cachewarm.errors import CachewarmError
from cachewarm.ledger import inventory
from cachewarm.ledger.connect import Connection

log = structlog.get_logger("signer")
KEPT = 500_000
#: Well below the edges' SIGNER_TIMEOUT.
ASK_TIMEOUT_S, BREAKER_S = 1.0, 1.0
Serial = tuple[int, bytes]
Wanted = dict[Serial, asyncio.Future[int | None]]


class Unreachable(Exception):
    """The ledger cannot say."""


class InventoryCache:
    """`not_after` by issuer number and serial."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        #: Epoch seconds of the end of certificates that were asked for, the last one asked for at the end.
        self.recent: OrderedDict[Serial, int] = OrderedDict()
        self._wanted: Wanted = {}
        self._asking: asyncio.Task[None] | None = None
        self._open_until = 0.0

    def known(self, issuer_no: int, serial: bytes) -> int | None:
        """Epoch seconds of the certificate's end, None when the ledger must be asked."""
        wanted = (issuer_no, serial)
        not_after = self.recent.get(wanted)
        if not_after is not None:
            self.recent.move_to_end(wanted)
        return not_after

    async def not_after(self, issuer_no: int, serial: bytes) -> int | None:
        """Epoch seconds of the certificate's end, None when it was never issued; Unreachable."""
        wanted = (issuer_no, serial)
        not_after = self.known(issuer_no, serial)
        if not_after is not None:
            return not_after
        if time.monotonic() < self._open_until:
            raise Unreachable("the ledger did not answer a moment ago")
        future = self._wanted.get(wanted)
        if future is None:
            future = self._wanted[wanted] = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._ask_all())
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await self._connection.close(timeout=2)

    async def _ask_all(self) -> None:
        """One question after the other until nothing is wanted; each takes all that has gathered.

        However it ends, by a defect or cancelled, nobody is left waiting and the next one who wants to know asks anew.
        """
        wanted: Wanted = {}
        try:
            await asyncio.sleep(0)
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                try:
                    async with asyncio.timeout(ASK_TIMEOUT_S):
                        self._tell(wanted, await self._ask(list(wanted)))
                except (CachewarmError, OSError, TimeoutError) as error:
                    self._give_up(wanted, error)
                except Exception as error:
                    # of whatever kind: those who wait must hear of it
                    log.exception("asking the inventory failed")
                    self._give_up(wanted, error)
        finally:
            self._asking = None
            self._end(wanted, "the question was given up")

    def _tell(self, wanted: Wanted, found: dict[Serial, int]) -> None:
        for serial, future in wanted.items():
            if serial in found:
                self._keep(serial, found[serial])
            future.set_result(found.get(serial))

    def _give_up(self, wanted: Wanted, error: Exception) -> None:
        self._drop_connection()
        self._open_until = time.monotonic() + BREAKER_S
        log.warning("inventory not asked", error=str(error) or type(error).__name__)
        self._end(wanted, str(error))

    def _end(self, wanted: Wanted, why: str) -> None:
        """Those who came meanwhile have waited as well: nobody waits for a second attempt."""
        gathered, self._wanted = self._wanted, {}
        for future in (*wanted.values(), *gathered.values()):
            if not future.done():
                future.set_exception(Unreachable(why))
                future.exception()

    async def _ask(self, wanted: list[Serial]) -> dict[Serial, int]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        found: dict[Serial, int] = {}
        for issuer_no in {number for number, _ in wanted}:
            serials = [serial for number, serial in wanted if number == issuer_no]
            rows = await inventory.statuses(self._connection, issuer_no, serials)
            found |= {(issuer_no, serial): int(row.not_after.timestamp()) for serial, row in rows.items()}
        return found

    def _keep(self, serial: Serial, not_after: int) -> None:
        self.recent[serial] = not_after
        if len(self.recent) > KEPT:
            self.recent.popitem(last=False)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
