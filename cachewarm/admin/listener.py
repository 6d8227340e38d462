"""The listener's limits before anybody is known: time for the TLS handshake and for the head, and the head's size.

uvicorn has none of the three. A connection that sends nothing, or a head byte by byte, is closed after HEAD_S; a head
over HEAD_BYTES is answered 431 and closed; a body must be here within BODY_S.
"""

import asyncio
from typing import Any

import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HANDSHAKE_S, HEAD_S, BODY_S = 10.0, 10.0, 60.0
HEAD_BYTES = 32 << 10
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _timer: asyncio.TimerHandle | None = None
    _head: int | None = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the first head."""
        super().connection_made(transport)
        self._allow(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the timer with the connection."""
        self._allow(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head, and close the connection of one that is too large."""
        if self._head is not None:
            self._head += len(data)
            if self._timer is None:
                self._allow(HEAD_S)
        super().data_received(data)
        if self._head is not None and self._head > HEAD_BYTES:
            self._refuse()

    def on_headers_complete(self) -> None:
        """The head is here: from now on the time for the body runs."""
        self._head = None
        self._allow(BODY_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here: the next head may take its time until its first byte (keep-alive)."""
        self._head = 0
        self._allow(None)
        super().on_message_complete()

    def _allow(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._close)

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()

    def _refuse(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()


class BoundedLoop(uvloop.Loop):
    """An event loop whose servers do not wait a minute for a TLS handshake."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """Bound the time of the handshake."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", HANDSHAKE_S)
        return await super().create_server(*arguments, **options)
