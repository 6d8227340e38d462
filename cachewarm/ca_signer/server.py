"""The CA signer's socket: peers by their account, one request per connection, a typed reason for each refusal.

Peers are known by SO_PEERCRED: this process's own account, root, and the accounts of FASTOCSP_CA_SIGNER_UIDS. A request
that is refused before all of it was sent ends its connection; nothing that a client sends ends the process.
"""

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import structlog

from cachewarm.ca.ca_keys import Purpose
from cachewarm.ca_signer.policies import Forbidden
from cachewarm.ca_signer.service import SigningService
from cachewarm.ca_signer.wire import (
    MOST_REQUEST,
    PIECE,
    Outcome,
    Reason,
    pack_length,
    pack_object,
    unpack_length,
    unpack_object,
)
from cachewarm.errors import CachewarmError, Fatal, Refused
from responder.log_limits import RateLimitedLog
from responder.peers import Peer, peer_of

log = structlog.get_logger("ca signer")
#: Requests at once, and seconds that one may take from its first byte to its reply.
MOST_REQUESTS, REQUEST_S = 32, 120.0


class CASignerServer:
    """Serves one SigningService to the accounts that may use it."""

    def __init__(self, service: SigningService, uids: Collection[int] = ()) -> None:
        self._service = service
        self._uids = {0, os.geteuid(), *uids}
        self._open_to_others = bool(uids)
        self._under_way = 0
        self.refused: Counter[str] = Counter()
        self._refusals = RateLimitedLog(0.1)
        self._defects = RateLimitedLog()

    async def listen(self, path: Path) -> asyncio.Server:
        """Take the socket. Fatal when another CA signer listens there; a stale one is replaced."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_answered(path):
            raise Fatal(f"a CA signer listens at {path} already")
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._serve, str(path), limit=PIECE, backlog=MOST_REQUESTS * 4)
        finally:
            os.umask(before)
        if self._open_to_others:  # every account that reaches the folder may connect, and is then checked
            path.chmod(0o666)
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.transport)
        try:
            async with asyncio.timeout(REQUEST_S):
                reply = await self._answer(reader, peer)
                writer.write(reply)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        except Exception as error:
            self._defects.log("error", "request failed", exc_info=error)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, peer: Peer) -> bytes:
        words: dict[str, Any] = {}
        try:
            if peer.uid not in self._uids:
                raise Forbidden(
                    Reason.PEER, f"the account with uid {peer.uid} may not use the CA signer (FASTOCSP_CA_SIGNER_UIDS)"
                )
            if self._under_way >= MOST_REQUESTS:
                return _reply(Outcome.UNAVAILABLE, text=f"the CA signer has {MOST_REQUESTS} requests under way")
            self._under_way += 1
            try:
                words = await _request(reader)
                return await self._decide(words, reader, peer)
            finally:
                self._under_way -= 1
        except Refused as error:
            return self._refusal(error, words, peer)
        except CachewarmError as error:
            return _reply(Outcome.UNAVAILABLE, text=str(error))

    async def _decide(self, words: dict[str, Any], reader: asyncio.StreamReader, peer: Peer) -> bytes:
        if words.get("do") == "status":
            return _reply(Outcome.DONE, faults=self._service.keys.faults)
        issuer_id, purpose = str(words.get("issuer")), _purpose(words)
        if words.get("do") == "open":
            await self._service.open(issuer_id, purpose)
            return _reply(Outcome.DONE)
        if words.get("do") != "sign":
            raise Forbidden(Reason.REQUEST, f"the CA signer does not {str(words.get('do'))!r}")
        signature = await self._service.sign(issuer_id, purpose, _pieces(reader))
        log.info("signed", issuer_id=issuer_id, purpose=purpose.value, uid=peer.uid, pid=peer.pid)
        return _reply(Outcome.SIGNED) + pack_length(len(signature)) + signature

    def _refusal(self, error: Refused, words: dict[str, Any], peer: Peer) -> bytes:
        reason = error.reason if isinstance(error, Forbidden) else Reason.REQUEST
        self.refused[reason] += 1
        if reason is not Reason.KEY:  # logged once by the key store
            self._refusals.log(
                "warning",
                "signature refused",
                reason=reason.value,
                error=str(error),
                issuer_id=str(words.get("issuer"))[:100],
                purpose=str(words.get("purpose"))[:100],
                uid=peer.uid,
                pid=peer.pid,
            )
        return _reply(Outcome.REFUSED, reason=reason.value, text=str(error))


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False


async def _request(reader: asyncio.StreamReader) -> dict[str, Any]:
    octets = await _frame(reader, MOST_REQUEST)
    try:
        return unpack_object(octets)
    except ValueError as error:
        raise Forbidden(Reason.REQUEST, f"not a request: {error}") from error


def _purpose(words: dict[str, Any]) -> Purpose:
    try:
        return Purpose(str(words.get("purpose")))
    except ValueError as error:
        raise Forbidden(Reason.PURPOSE, f"no key is used for the purpose {str(words.get('purpose'))!r}") from error


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await _frame(reader, PIECE):
        yield piece


async def _frame(reader: asyncio.StreamReader, most: int) -> bytes:
    size = unpack_length(await reader.readexactly(4))
    if size > most:
        raise Forbidden(Reason.REQUEST, f"a frame of {size} bytes is longer than {most}")
    return await reader.readexactly(size)


def _reply(outcome: Outcome, **words: object) -> bytes:
    return pack_object({"outcome": outcome.value, **words})
