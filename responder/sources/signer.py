"""The signer's tier: a request over its Unix socket, many at a time over one connection.

Frames are `_fastocsp.ocsp.signer_wire`'s. The signer decides the status by itself: no request sent here can make it
return `good`. Requests with a nonce for one certificate are sent by the connection loop over a connection of its own
(responder/hotpath/signer_client.pyx); the rest is sent here, with whatever that connection could not settle.
"""

import asyncio
import contextlib
import itertools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from _fastocsp.ocsp.signer_wire import ASK_ANSWER, ASK_RECORD, DONE, DONE_ONCE, FRAME_HEAD, MAX_FRAME, pack_frame
from _fastocsp.shared.counters import Counters
from _fastocsp.wire.codes import UNAUTHORIZED
from responder.errors import SourceError, TryLater, Unauthorized
from responder.log_limits import Outage
from responder.sources.base import Found, Key
from responder.telemetry import INDEX

FRAME = struct.Struct(">IIB")


class SignedAnswer(NamedTuple):
    """A whole OCSPResponse and the records that it states, one for each CertID in the order asked."""

    der: bytes
    records: tuple[bytes, ...]


class SignerSource:
    """One connection, made when needed and again when it breaks."""

    def __init__(self, path: Path, timeout_s: float, counters: Counters) -> None:
        self._path, self._timeout, self._counters = path, timeout_s, counters
        self.outage = Outage("signer")
        self._writer: asyncio.StreamWriter | None = None
        self._pending: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self._numbers = itertools.count(1)
        self._connecting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def fetch(self, key: Key) -> Found | None:
        """A fresh record; Unauthorized for a serial that the policy refuses."""
        kind, body = await self._ask(ASK_RECORD, pack_key(key))
        return Found(body, storable=kind == DONE)

    async def answer(self, keys: Sequence[Key], nonce: bytes | None) -> SignedAnswer:
        """A whole answer for these keys, with the nonce when there is one."""
        nonce_octets = b"" if nonce is None else nonce
        cert_ids = b"".join(pack_key(key)[:3] + bytes((len(key.serial),)) + key.serial for key in keys)
        _, body = await self._ask(
            ASK_ANSWER, bytes((len(nonce_octets),)) + nonce_octets + bytes((len(keys),)) + cert_ids
        )
        return unpack_answer(body)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        number = next(self._numbers) & 0xFFFFFFFF
        reply: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout):
                writer = await self._connected()
                self._pending[number] = reply
                writer.write(pack_frame(number, kind, body))
                outcome, answer = await reply
        except (OSError, TimeoutError) as error:
            self._counters.add(INDEX["signer_failed"])
            self.outage.failed(error)
            raise SourceError(f"signer: {error or type(error).__name__}") from error
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
        try:
            while True:
                length, number, kind = FRAME.unpack(await reader.readexactly(FRAME_HEAD))
                if not FRAME_HEAD - 4 <= length <= MAX_FRAME:
                    break
                body = await reader.readexactly(length - 5)
                reply = self._pending.get(number)
                if reply is not None and not reply.done():
                    reply.set_result((kind, body))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            for reply in self._pending.values():
                if not reply.done():
                    reply.set_exception(ConnectionResetError("the signer closed the connection"))


def pack_key(key: Key) -> bytes:
    """Issuer number u16 | hash algorithm u8 | serial."""
    return key.issuer_no.to_bytes(2, "big") + bytes((key.hash_algorithm,)) + key.serial


def unpack_key(octets: bytes) -> Key:
    """The key; ValueError for octets that are none."""
    if not 4 <= len(octets) <= 23:
        raise ValueError("not a key")
    return Key(int.from_bytes(octets[:2], "big"), octets[2], octets[3:])


def pack_answer(answer: SignedAnswer) -> bytes:
    """Count u8 | for each record length u16 and octets | DER."""
    records = b"".join(len(record).to_bytes(2, "big") + record for record in answer.records)
    return bytes((len(answer.records),)) + records + answer.der


def unpack_answer(octets: bytes) -> SignedAnswer:
    """The answer that pack_answer packed."""
    records, at = [], 1
    for _ in range(octets[0]):
        length = int.from_bytes(octets[at : at + 2], "big")
        records.append(octets[at + 2 : at + 2 + length])
        at += 2 + length
    return SignedAnswer(octets[at:], tuple(records))
