"""Where a message's head and body end, for the limits that httptools does not keep. Sans-I/O.

httptools says neither where a head ends in what it was fed nor how long a chunk claims to be, so a client that
announces a chunk of 2**63 bytes would be waited for. The bytes are cut here into pieces of one message part each; the
parser still has the last word on what they mean, and a piece that is cut wrongly costs no more than the limit.
"""

MAX_EXTENSIONS, MAX_TRAILER_LINE = 1024, 8192
#: A larger chunk is no mistake about MAX_BODY_SIZE: 400, not 413.
LARGEST_CHUNK = (1 << 31) - 1
_END_OF_HEAD = b"\r\n\r\n"


class BadChunk(Exception):
    """The size of a chunk is not one, or beyond any limit."""


class BodyTooLarge(Exception):
    """The chunks announced so far are more than a body may have."""


class ChunkedBody:
    """Walks over a chunked body (RFC 9112 7.1), sizes alone."""

    def __init__(self, max_body: int) -> None:
        self._room = max_body
        self._line = b""
        self._skip = 0  # bytes of a chunk and its CRLF that are still to come
        self._in_trailer = False
        self.ended = False

    def take(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to this body. Raises BadChunk and BodyTooLarge."""
        at = 0
        while at < len(data) and not self.ended:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:end]
            at = end
            if len(self._line) > (MAX_TRAILER_LINE if self._in_trailer else MAX_EXTENSIONS):
                raise BadChunk
            if self._line.endswith(b"\n"):
                line, self._line = self._line, b""
                self._on_line(line)
        return at

    def _on_line(self, line: bytes) -> None:
        if self._in_trailer:
            self.ended = line in (b"\r\n", b"\n")
            return
        digits = line.partition(b";")[0].strip()
        if not digits or any(digit not in b"0123456789abcdefABCDEF" for digit in digits):
            raise BadChunk
        size = int(digits, 16)
        if size > LARGEST_CHUNK:
            raise BadChunk
        self._room -= size
        if self._room < 0:
            raise BodyTooLarge
        self._in_trailer = size == 0
        self._skip = size + 2 if size else 0


class MessageCutter:
    """Cuts what comes on one connection; its owner says what each head announced."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._tail = b""  # of a head that has not ended
        self._left = 0
        self._chunked: ChunkedBody | None = None
        self.request_line = b""
        self._line_ended = False

    def begin_body(self, *, chunked: bool, length: int) -> None:
        """The head that was cut last announced this body."""
        self._chunked = ChunkedBody(self._max_body) if chunked else None
        self._left = length

    def cut(self, data: bytes) -> int:
        """Return the length of the first piece of `data`, at least 1. Raises BadChunk and BodyTooLarge."""
        if self._chunked is not None:
            taken = self._chunked.take(data)
            if self._chunked.ended:
                self._chunked = None
            return taken
        if self._left:
            taken = min(self._left, len(data))
            self._left -= taken
            return taken
        return self._cut_head(data)

    def _cut_head(self, data: bytes) -> int:
        if not self._tail:
            self.request_line, self._line_ended = b"", False
        seen = self._tail + data
        end = seen.find(_END_OF_HEAD)
        taken = len(data) if end < 0 else end + len(_END_OF_HEAD) - len(self._tail)
        if not self._line_ended and len(self.request_line) < 1 << 16:
            self.request_line, newline, _ = (self.request_line + data[:taken]).partition(b"\n")
            self._line_ended = bool(newline)
        self._tail = seen[-3:] if end < 0 else b""
        return taken
