"""The signer's socket: frames in, frames out, a bound on what is under way, `tryLater` beyond it.

A question that memory can answer is answered where it is read, a batch of them by one write; only who must wait for the
ledger becomes a task. A connection has one batch in each turn of the event loop, and none while it does not read what
it was told. Only the edge of this host may connect: the socket's mode is 0660, its folder 0700, and the account of
every peer is checked (SO_PEERCRED). A frame that is none ends its connection; nothing else that a client sends can.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar, cast

import structlog

from _fastocsp.ocsp.response import encode_signed
from _fastocsp.ocsp.signer_wire import (
    ASK_ANSWER,
    ASK_RECORD,
    DONE,
    DONE_ONCE,
    pack_frame,
    pack_signed,
    pack_signed_answer,
    unpack_answer_query,
    unpack_asked,
    unpack_record_query,
)
from _fastocsp.wire.codes import INTERNAL_ERROR, TRY_LATER
from _fastocsp.wire.errors import WireError
from cachewarm.signer.decisions import SignerDecisions, Unsigned
from responder.domain.key import Key
from responder.errors import Refusal, Unauthorized
from responder.log_limits import RateLimitedLog
from responder.peers import Peer, peer_of

log = structlog.get_logger("signer")
_defects, _strangers = RateLimitedLog(), RateLimitedLog()
T = TypeVar("T")
#: Questions of one connection in one turn: half a millisecond of P-256. Fewer when a turn takes longer than it should,
#: with RSA or an HSM: the other edges wait for it, and so does the feed.
BATCH, TURN_S = 16, 0.002
#: Questions of one connection that are read ahead; more stay in its socket. To stop reading costs a call of the kernel.
UNREAD_OCTETS = 65536


class SignerServer:
    """Serves answers of one SignerDecisions on a socket, to its own account, root and the accounts `uids`."""

    def __init__(self, decisions: SignerDecisions, queue: int, uids: Collection[int] = ()) -> None:
        self._decisions, self._queue = decisions, queue
        self._uids, self._open_to_others = {0, os.geteuid(), *uids}, bool(uids)
        self.under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, path: Path) -> asyncio.Server:
        """Take the socket; a stale one is replaced."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        server = await asyncio.get_running_loop().create_unix_server(lambda: SignerConnection(self), str(path))
        path.chmod(0o666 if self._open_to_others else 0o660)  # every peer is checked
        return server

    def admits(self, peer: Peer) -> bool:
        """Return whether the account of that process may ask; it is logged if not."""
        if peer.uid in self._uids:
            return True
        _strangers.warn("connection refused", uid=peer.uid, pid=peer.pid, setting="FASTOCSP_SIGNER_UIDS")
        return False

    def take(self, line: "SignerConnection", octets: bytes, most: int) -> tuple[bytes, int, int]:
        """Answer the first `most` frames of those bytes: return the answers that memory can give, how many frames were
        read and how many bytes they took. Tasks will write the other answers. WireError for what is no question.

        All are stated, then all are signed: either part runs from the processor's caches.
        """
        at = self._decisions.moment()
        batch = self._decisions.answer_batch(octets, most)
        replies = batch.answers
        replies += [pack_frame(number, outcome_of(error), b"") for number, error in batch.failed]
        unsigned = []
        for number, kind, body in batch.left:
            if kind not in (ASK_RECORD, ASK_ANSWER):
                raise WireError("not a question")
            asked = unpack_asked(body) if kind == ASK_ANSWER else None
            try:
                stated = self._decisions.state_at_once(Key(*asked[:3]), asked[3], at) if asked else None
            except Exception as error:
                replies.append(pack_frame(number, outcome_of(error), b""))
                continue
            if stated is not None:
                unsigned.append((number, stated))
            elif self.under_way >= self._queue:
                replies.append(pack_frame(number, TRY_LATER, b""))
            else:
                self._begin(line, number, kind, body)
        replies += [_signed(*each) for each in unsigned]
        return b"".join(replies), batch.read, batch.used

    def _begin(self, line: "SignerConnection", number: int, kind: int, body: bytes) -> None:
        self.under_way += 1
        task = asyncio.get_running_loop().create_task(self._answer(line, number, kind, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, line: "SignerConnection", number: int, kind: int, body: bytes) -> None:
        try:
            outcome, reply = await self._decide(kind, body)
        except Exception as error:
            outcome, reply = outcome_of(error), b""
        finally:
            self.under_way -= 1
        line.write(pack_frame(number, outcome, reply))

    async def _decide(self, kind: int, body: bytes) -> tuple[int, bytes]:
        if kind == ASK_RECORD:
            found = await self._decisions.record(Key(*_unpacked(unpack_record_query, body)))
            return (DONE if found.storable else DONE_ONCE), found.record
        cert_ids, nonce = _unpacked(unpack_answer_query, body)
        answer = await self._decisions.answer([Key(*cert_id) for cert_id in cert_ids], nonce)
        return DONE, pack_signed_answer(answer.records, answer.der)


class SignerConnection(asyncio.Protocol):
    """One connection of an edge."""

    def __init__(self, server: SignerServer) -> None:
        self._server = server
        self._unread = b""
        self._turn: asyncio.Handle | None = None
        self._most = 1
        self._full = self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio: see asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.admits(peer_of(transport)):
            self._transport.abort()

    def data_received(self, octets: bytes) -> None:
        """Called by asyncio: see asyncio.Protocol."""
        if self._transport.is_closing():
            return
        self._unread = self._unread + octets if self._unread else octets
        if self._turn is None and not self._full:
            self._work()

    def pause_writing(self) -> None:
        """Of asyncio: the edge does not read. Then neither do we."""
        self._full = True
        self._read(False)

    def resume_writing(self) -> None:
        """Called by asyncio: see asyncio.Protocol."""
        self._full = False
        if self._turn is None:
            self._work()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Called by asyncio: see asyncio.Protocol."""
        if self._turn is not None:
            self._turn.cancel()

    def write(self, octets: bytes) -> None:
        """To the edge, if it is still there."""
        if not self._transport.is_closing():
            self._transport.write(octets)

    def _work(self) -> None:
        """One batch; the next one when the others have had their turn."""
        self._turn = None
        begun, most = time.monotonic(), self._most
        try:
            answers, read, used = self._server.take(self, self._unread, most)
            self._unread = self._unread[used:]
            self.write(answers)
        except WireError as error:
            log.warning("not a frame of ours", error=str(error))
            self._transport.close()
            return
        except Exception:
            # the connection shell: nobody would answer what comes behind it
            log.exception("answering failed")
            self._transport.close()
            return
        self._adapt(time.monotonic() - begun)
        if read == most and not self._full:
            self._turn = asyncio.get_running_loop().call_soon(self._work)
        self._read(not self._full and (read < most or len(self._unread) < UNREAD_OCTETS))

    def _adapt(self, took_s: float) -> None:
        if took_s > TURN_S:
            self._most = max(1, self._most // 2)
        elif took_s < TURN_S / 2:
            self._most = min(BATCH, self._most * 2)

    def _read(self, wanted: bool) -> None:
        """Or leave what comes in the socket."""
        if wanted and self._paused:
            self._transport.resume_reading()
        elif not wanted and not self._paused:
            self._transport.pause_reading()
        self._paused = not wanted


def _unpacked(unpack: Callable[[bytes], T], body: bytes) -> T:
    """Unpack the body of a frame; Unauthorized where it is malformed."""
    try:
        return unpack(body)
    except ValueError as error:
        raise Unauthorized from error


def _signed(number: int, stated: Unsigned) -> bytes:
    template, record, tbs, key = stated
    try:
        return pack_signed(number, record, encode_signed(template, tbs, key.sign(tbs)))
    except Exception as error:
        return pack_frame(number, outcome_of(error), b"")


def outcome_of(error: Exception) -> int:
    """Return the OCSPResponseStatus of a failure. A defect, such as a record that cannot be minted, is internalError
    and logged: it must not end the signer.
    """
    if isinstance(error, Refusal):
        return error.ocsp_status
    _defects.log("error", "signing failed", exc_info=error)
    return INTERNAL_ERROR
