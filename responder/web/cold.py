"""uvicorn's protocol for the sockets that the hot lane hands over, with the checks that it leaves to others.

What httptools accepts and RFC 9112 does not is refused here: no Host or two, a Transfer-Encoding that is not exactly
`chunked`, any of it on HTTP/1.0. So is a head that is too long or too slow. An error answer must survive: a socket
closed with octets unread is reset, so it lingers, reading into nothing, until the client has gone or two seconds are
over (RFC 9112 9.6).
"""

import asyncio
import time
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from _fastocsp.counters import Counters
from responder.telemetry import INDEX

MAX_HEAD = 32768
LINGER_S = 2.0
_REFUSED = (
    b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
    b"Connection: close\r\n\r\n%s"
)


class BadRequest(Exception):
    """Raised inside the parser's callbacks; httptools hands it on as one of its own errors."""


class LingeringTransport:
    """A transport whose `close` lets the client read the answer first."""

    def __init__(self, transport: asyncio.Transport, owner: "ColdProtocol") -> None:
        self._transport, self._owner = transport, owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """True from the first `close` on."""
        return self._owner.lingering or self._transport.is_closing()

    def close(self) -> None:
        """Say that we are done; wait for the client when it is still sending."""
        if self._owner.between_requests or not self._transport.can_write_eof():
            self._transport.close()
        elif not self._owner.lingering:
            self._owner.linger()
            self._transport.write_eof()


class ColdProtocol(HttpToolsProtocol):
    """HttpToolsProtocol with deadlines and stricter framing."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        patience_s: float,
        counters: Counters,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._patience_s, self._counters = patience_s, counters
        self._deadline: float | None = None
        self._head_octets = 0
        self.between_requests = True
        self.lingering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket comes with its first octets."""
        super().connection_made(LingeringTransport(transport, self))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Parse, within the limits of a head."""
        if self.lingering:
            return
        if self.between_requests:
            self.between_requests = False
            self._deadline = time.monotonic() + self._patience_s
            self._head_octets = 0
        self._head_octets += len(data)
        super().data_received(data)
        if self._head_octets > MAX_HEAD and not self.lingering and not self._has_head:
            self._refuse(431, b"Request Header Fields Too Large")

    @property
    def _has_head(self) -> bool:
        return self.scope is not None and "method" in self.scope

    def on_message_begin(self) -> None:
        """A request begins; pipelined ones share the deadline of the first."""
        super().on_message_begin()
        self.between_requests = False

    def on_headers_complete(self) -> None:
        """Refuse what must not be guessed at."""
        hosts = [value for name, value in self.headers if name == b"host"]
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        lengths = [value for name, value in self.headers if name == b"content-length"]
        old = self.parser.get_http_version() == "1.0"
        if len(hosts) > 1 or (not hosts and not old) or (hosts and not hosts[0].strip()):
            raise BadRequest("exactly one Host")
        if codings and (old or codings != [b"chunked"] or lengths):
            raise BadRequest("ambiguous framing")
        if any(not value.isdigit() for value in lengths) or len(set(lengths)) > 1:
            raise BadRequest("Content-Length is not a number")
        if old:
            self.expect_100_continue = False
        self._head_octets = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole: no deadline while it is answered."""
        super().on_message_complete()
        self.between_requests = True
        self._deadline = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's interface
        """Refuse and close; the parser cannot go on."""
        too_long = self._head_octets > MAX_HEAD
        if too_long:
            self._refuse(431, b"Request Header Fields Too Large")
        else:
            self._refuse(400, b"Bad Request")

    def pause_writing(self) -> None:
        """A client that does not read its answer has as long as one that does not send."""
        super().pause_writing()
        self._deadline = time.monotonic() + self._patience_s * 6

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._deadline = None

    def check_deadline(self) -> None:
        """Called by the tick."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._counters.add(INDEX["timed_out"])
            self.transport.abort()

    def linger(self) -> None:
        """Read into nothing from now on."""
        self.lingering = True
        self._deadline = time.monotonic() + LINGER_S

    def _refuse(self, status: int, reason: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            text = reason + b"\n"
            self.transport.write(_REFUSED % (status, reason, len(text), text))
        self.between_requests = False
        self.transport.close()
