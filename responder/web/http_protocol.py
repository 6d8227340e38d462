"""uvicorn's protocol for the sockets that the hot lane hands over, with the checks that it leaves to others.

What httptools accepts and RFC 9112 does not is refused here: no Host or two, a Transfer-Encoding that is not exactly
`chunked`, any of it on HTTP/1.0. So is a head that is too long or too slow. A refusal waits its turn behind the answers
to what was asked before it, and takes the place of the answer to a message whose body breaks off. It must survive: a
socket closed with bytes unread is reset, so it lingers, reading into nothing, until the client has gone or two
seconds are over (RFC 9112 9.6). A client that has closed its sending half is still answered.
"""

import asyncio
import re
import time
from collections import deque
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from _fastocsp.shared.counters import Counters
from responder.config import EdgeSettings
from responder.telemetry import INDEX
from responder.web.message_cutter import BadChunk, BodyTooLarge, MessageCutter

LINGER_S = 2.0
BAD_REQUEST = 400, b"Bad Request"
CONTENT_TOO_LARGE = 413, b"Content Too Large"
URI_TOO_LONG = 414, b"URI Too Long"
FIELDS_TOO_LARGE = 431, b"Request Header Fields Too Large"
VERSION_NOT_SUPPORTED = 505, b"HTTP Version Not Supported"
_KEEP_ALIVE = b"connection", b"keep-alive"
_OTHER_VERSION = re.compile(rb".* HTTP/[02-9]\.\d\r?")
_REFUSED = (
    b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
    b"Connection: close\r\n\r\n%s"
)


class HandedOverFrom(Protocol):
    """The side that the sockets come from."""

    draining: bool

    def cold_come(self, connection: "ColdProtocol", peer: str) -> None:
        """A connection has begun."""

    def cold_gone(self, connection: "ColdProtocol") -> None:
        """A connection has ended."""


class BadMessageError(Exception):
    """Raised inside the parser's callbacks; httptools turns it into an error of its own."""


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
        if self._owner.between_requests or self._owner.at_end or not self._transport.can_write_eof():
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
        settings: EdgeSettings,
        counters: Counters,
        bridge: HandedOverFrom,
        first_octets: bytes,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._patience_s, self._most_head, self._counters = settings.header_timeout, settings.header_bytes, counters
        self._bridge, self._first_octets = bridge, first_octets
        self._deadline: float | None = None
        self._cutter = MessageCutter(settings.max_body_size)
        self._head_octets = 0  # that came since a head began and has not ended
        self._field_octets = 0  # of this message's fields
        self._in_body = False
        self.at_end = False
        self._verdict = BAD_REQUEST
        self._last_words = b""
        self._unanswered: deque[RequestResponseCycle] = deque()
        self.between_requests = True
        self._idle_from = time.monotonic()
        self.lingering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket comes with its first bytes, which nothing may overtake."""
        super().connection_made(LingeringTransport(transport, self))  # type: ignore[arg-type]
        first_octets, self._first_octets = self._first_octets, b""
        if self.client is not None:
            self._bridge.cold_come(self, self.client[0])
        self.data_received(first_octets)
        if self._bridge.draining:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """One less to count."""
        super().connection_lost(exc)
        self._bridge.cold_gone(self)

    def data_received(self, data: bytes) -> None:
        """Parse, within the limits of a head."""
        if self.lingering or self._last_words:
            return
        if self.between_requests:
            self.between_requests = False
            self._deadline = time.monotonic() + self._patience_s
            self._head_octets = 0
        self._head_octets += len(data)
        while data and not self.lingering and not self._last_words:
            try:
                taken = self._cutter.cut(data)
            except BadChunk:
                self._refuse(BAD_REQUEST)
                return
            except BodyTooLarge:
                self._refuse(CONTENT_TOO_LARGE)
                return
            super().data_received(data[:taken])
            data = data[taken:]
        if self._head_octets > self._most_head and not self._in_body and not self.between_requests:
            self._refuse(FIELDS_TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has said all is answered (H-24); one that breaks off inside a body is not."""
        self.at_end = True
        self._drop_broken()
        return bool(self._unanswered) and not self.lingering

    def on_message_begin(self) -> None:
        """A request begins; pipelined ones share the deadline of the first."""
        super().on_message_begin()
        self.between_requests = False
        self._field_octets = 0
        self._verdict = BAD_REQUEST

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""
        super().on_url(url)
        if len(self.url) > self._most_head:
            self._verdict = URI_TOO_LONG
            raise BadMessageError("request target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; those of a trailer section are no header fields (RFC 9110 6.5.1)."""
        self._field_octets += len(name) + len(value) + 4
        if self._field_octets > self._most_head:
            self._verdict = FIELDS_TOO_LARGE
            raise BadMessageError("fields too large")
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Refuse what must not be guessed at."""
        hosts = [value for name, value in self.headers if name == b"host"]
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        lengths = [value for name, value in self.headers if name == b"content-length"]
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):  # no version at all is 0.9 to the parser
            raise BadMessageError("not HTTP/1")
        old = version == "1.0"
        if len(hosts) > 1 or (not hosts and not old) or (hosts and not hosts[0].strip()):
            raise BadMessageError("exactly one Host")
        if codings and (old or codings != [b"chunked"] or lengths):
            raise BadMessageError("ambiguous framing")
        if any(not value.isdigit() for value in lengths) or len(set(lengths)) > 1:
            raise BadMessageError("Content-Length is not a number")
        if old:
            self.expect_100_continue = False
        self._head_octets = 0
        self._cutter.begin_body(chunked=bool(codings), length=int(lengths[0]) if lengths else 0)
        super().on_headers_complete()
        if old and self.parser.should_keep_alive():  # RFC 9112 9.3 and C.2.2: the client has to be told
            self.cycle.keep_alive = True
            self.cycle.default_headers = [*self.cycle.default_headers, _KEEP_ALIVE]
        self._in_body = True
        self._unanswered.append(self.cycle)

    def on_message_complete(self) -> None:
        """The request is whole: no deadline while it is answered."""
        super().on_message_complete()
        self._in_body = False
        self.between_requests = True
        self._deadline = None

    def on_response_complete(self) -> None:
        """The next answer's turn, or the last words', or the end."""
        self._idle_from = time.monotonic()
        self._unanswered.popleft()
        super().on_response_complete()
        if self._unanswered or self.transport.is_closing():
            return
        if self._last_words:
            self.transport.write(self._last_words)
        if self._last_words or self.at_end:
            self.transport.close()

    def shutdown(self) -> None:
        """Close after the answer that is under way, which no longer promises anything else."""
        super().shutdown()
        if self.cycle is not None and not self.cycle.keep_alive:
            self.cycle.default_headers = [each for each in self.cycle.default_headers if each != _KEEP_ALIVE]

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's interface
        """Refuse and close; the parser cannot go on."""
        if not self._in_body and _OTHER_VERSION.fullmatch(self._cutter.request_line):
            self._refuse(VERSION_NOT_SUPPORTED)
        else:
            self._refuse(self._verdict)

    def pause_writing(self) -> None:
        """A client that does not read its answer has as long as one that does not send."""
        super().pause_writing()
        self._deadline = time.monotonic() + self._patience_s * 6

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        super().resume_writing()
        self._deadline = None

    def check_deadline(self) -> None:
        """Called by the tick."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._counters.add(INDEX["timed_out"])
            self.transport.abort()

    @property
    def idle_since(self) -> float | None:
        """Monotonic seconds since when it has been idle between requests; None while it is not."""
        return self._idle_from if self.between_requests and not self._unanswered else None

    def give_up(self) -> None:
        """Close at once: others need the place."""
        self._counters.add(INDEX["connections_evicted"])
        self.transport.abort()

    def linger(self) -> None:
        """Read into nothing from now on."""
        self.lingering = True
        self._deadline = time.monotonic() + LINGER_S

    def _drop_broken(self) -> bool:
        """Forget the message whose body will never be whole; True when it has had its answer."""
        if not self._in_body:
            return False
        self._in_body = False
        if not self._unanswered or self._unanswered[-1] is not self.cycle:
            return True
        broken = self._unanswered.pop()
        broken.disconnected = True
        broken.message_event.set()
        self.pipeline = deque(waiting for waiting in self.pipeline if waiting[0] is not broken)
        return False

    def _refuse(self, verdict: tuple[int, bytes]) -> None:
        if self.transport.is_closing() or self._last_words:
            return
        answered = self._drop_broken()
        self.between_requests = False
        self._deadline = None
        text = verdict[1] + b"\n"
        words = _REFUSED % (*verdict, len(text), text)
        if self._unanswered:
            self._last_words = words
            return
        if not answered:
            self.transport.write(words)
        self.transport.close()
