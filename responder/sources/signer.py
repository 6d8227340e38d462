"""The signer's tier: a request over its Unix socket, many at a time over one connection.

Frames are `_fastocsp.ocsp.signer_wire`'s. The signer decides the status by itself: no request sent here can make it
return `good`. Requests with a nonce for one certificate are sent by the connection loop over a connection of its own
(responder/hotpath/signer_client.pyx); the rest is sent here, with whatever that connection could not settle.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from _fastocsp.ocsp.signer_wire import (
    DONE,
    DONE_ONCE,
    pack_answer_query,
    pack_record_query,
    split_frames,
    unpack_signed_answer,
)
from _fastocsp.shared.counters import Counters
from _fastocsp.wire.codes import UNAUTHORIZED
from _fastocsp.wire.errors import WireError
from responder.domain.key import Key
from responder.errors import LINK_FAILURES, SourceError, TryLater, Unauthorized, reason
from responder.log_limits import OutageLog
from responder.sources.base import Found
from responder.tasks import end_tasks
from responder.telemetry import INDEX

log = structlog.get_logger("edge")
READ_BYTES = 65536


class SignedAnswer(NamedTuple):
    """A whole OCSPResponse and the records that it states, one for each CertID in the order asked."""

    der: bytes
    records: tuple[bytes, ...]


class SignerSource:
    """One connection, made when needed and again when it breaks."""

    def __init__(self, path: Path, timeout_s: float, counters: Counters) -> None:
        self._path, self._timeout, self._counters = path, timeout_s, counters
        self.outage = OutageLog("signer")
        self._writer: asyncio.StreamWriter | None = None
        self._pending: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self._numbers = itertools.count(1)
        self._connecting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def fetch(self, key: Key) -> Found | None:
        """A fresh record; Unauthorized for a serial that the policy refuses."""
        kind, body = await self._ask(lambda number: pack_record_query(number, *key))
        return Found(body, storable=kind == DONE)

    async def answer(self, keys: Sequence[Key], nonce: bytes | None) -> SignedAnswer:
        """A whole answer for these keys, with the nonce when there is one."""
        _, body = await self._ask(lambda number: pack_answer_query(number, keys, nonce))
        try:
            records, der = unpack_signed_answer(body)
        except WireError as error:
            raise SourceError(f"signer: {error}") from error
        return SignedAnswer(der, records)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            await end_tasks([self._reading])

    async def _ask(self, pack: Callable[[int], bytes]) -> tuple[int, bytes]:
        number = next(self._numbers) & 0xFFFFFFFF
        reply: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout):
                writer = await self._connected()
                self._pending[number] = reply
                writer.write(pack(number))
                outcome, answer = await reply
        except LINK_FAILURES as error:
            self._counters.add(INDEX["signer_failed"])
            self.outage.failed(error)
            raise SourceError(f"signer: {reason(error)}") from error
        finally:
            self._pending.pop(number, None)
        self.outage.answered()
        if outcome in (DONE, DONE_ONCE):
            self._counters.add(INDEX["signed_live"])
            return outcome, answer
        raise Unauthorized if outcome == UNAUTHORIZED else TryLater

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await asyncio.open_unix_connection(str(self._path))
                self._reading = asyncio.get_running_loop().create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unread = b""
        try:
            while piece := await reader.read(READ_BYTES):
                unread += piece
                frames, used = split_frames(unread, len(unread))
                unread = unread[used:]
                for number, kind, body in frames:
                    reply = self._pending.get(number)
                    if reply is not None and not reply.done():
                        reply.set_result((kind, body))
        except (OSError, WireError) as error:
            log.warning("signer connection broken", error=reason(error))
        finally:
            writer.close()
            for waiting in self._pending.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("the signer closed the connection"))
