"""The signer's socket: frames in, frames out, a bound on what is under way, `tryLater` beyond it.

Only the edge of this host may connect: the socket's mode is 0660 and its folder 0700. A frame that is none ends its
connection; nothing else a client sends can.
"""

import asyncio
import contextlib
from pathlib import Path

import structlog

from _fastocsp.codes import INTERNAL_ERROR, TRY_LATER, UNAUTHORIZED
from cachewarm.signer.desk import Desk
from responder.errors import Refusal
from responder.sources.base import Key
from responder.sources.signed import (
    ASK_ANSWER,
    ASK_RECORD,
    DONE,
    DONE_ONCE,
    FRAME,
    MAX_FRAME,
    pack_answer,
    unpack_key,
)

log = structlog.get_logger("signer")


class SignerServer:
    """Serves one desk."""

    def __init__(self, desk: Desk, queue: int) -> None:
        self._desk, self._queue = desk, queue
        self.under_way = 0
        self.signed = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, path: Path) -> asyncio.Server:
        """Take the socket; a stale one is replaced."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        server = await asyncio.start_unix_server(self._serve, str(path))
        path.chmod(0o660)
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length, number, kind = FRAME.unpack(await reader.readexactly(FRAME.size))
                if not FRAME.size - 4 <= length <= MAX_FRAME or kind not in (ASK_RECORD, ASK_ANSWER):
                    log.warning("not a frame of ours", length=length, kind=kind)
                    return
                body = await reader.readexactly(length - 5)
                self._take(writer, number, kind, body)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.close()

    def _take(self, writer: asyncio.StreamWriter, number: int, kind: int, body: bytes) -> None:
        if self.under_way >= self._queue:
            _reply(writer, number, TRY_LATER)
            return
        self.under_way += 1
        task = asyncio.get_running_loop().create_task(self._answer(writer, number, kind, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, writer: asyncio.StreamWriter, number: int, kind: int, body: bytes) -> None:
        try:
            outcome, reply = await self._decide(kind, body)
            self.signed += 1
        except Refusal as refusal:
            outcome, reply = refusal.ocsp_status, b""
        except ValueError:
            outcome, reply = UNAUTHORIZED, b""
        except Exception:
            # the connection shell: a defect must not end the signer
            log.exception("signing failed")
            outcome, reply = INTERNAL_ERROR, b""
        finally:
            self.under_way -= 1
        _reply(writer, number, outcome, reply)

    async def _decide(self, kind: int, body: bytes) -> tuple[int, bytes]:
        if kind == ASK_RECORD:
            found = await self._desk.record(unpack_key(body))
            return (DONE if found.storable else DONE_ONCE), found.record
        keys, nonce = unpack_question(body)
        return DONE, pack_answer(await self._desk.answer(keys, nonce))


def unpack_question(octets: bytes) -> tuple[list[Key], bytes | None]:
    """Keys and nonce of an ASK_ANSWER frame; ValueError when it does not add up."""
    nonce = octets[1 : 1 + octets[0]] if octets else b""
    at = 1 + len(nonce)
    keys = []
    for _ in range(octets[at] if at < len(octets) else 0):
        if at + 5 > len(octets):
            raise ValueError("a CertID is cut short")
        length = octets[at + 4]
        serial = octets[at + 5 : at + 5 + length]
        keys.append(unpack_key(octets[at + 1 : at + 4] + serial))
        at += 4 + length
    if not keys or at + 1 != len(octets):
        raise ValueError("not a question")
    return keys, nonce or None


def _reply(writer: asyncio.StreamWriter, number: int, outcome: int, body: bytes = b"") -> None:
    if not writer.is_closing():
        writer.write(FRAME.pack(5 + len(body), number, outcome) + body)
