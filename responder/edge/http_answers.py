"""Answers before they are HTTP: a body, what may cache it, and the head that says so.

The hot lane writes the same heads in C (`_fastocsp.http.response`); this is the slow and the cold lane's way to them.
"""

from http import HTTPStatus
from typing import NamedTuple

from _fastocsp.http.response import entity_tag
from _fastocsp.ocsp.record import unpack_record
from _fastocsp.ocsp.response import error_response
from _fastocsp.wire.gentime import imf_fixdate
from responder.errors import Refusal

Fields = list[tuple[bytes, bytes]]
OCSP_TYPE = b"application/ocsp-response"


class OCSPAnswer(NamedTuple):
    """`record` is the compact record of a cacheable answer, None for what must not be stored."""

    body: bytes
    label: str
    record: bytes | None = None
    http_status: int = 200
    retry_after: int | None = None


def refusal_answer(refusal: Refusal) -> OCSPAnswer:
    """The unsigned error answer."""
    body = error_response(refusal.ocsp_status)
    return OCSPAnswer(body, refusal.label, None, refusal.http_status, refusal.retry_after)


def fields(answer: OCSPAnswer, now: int, max_age: int) -> Fields:
    """Return the header fields of a whole answer, in the order of the hot lane; `max_age` as in cache_fields."""
    head = [(b"Content-Type", OCSP_TYPE), (b"Content-Length", b"%d" % len(answer.body))]
    return head + (cache_fields(answer.record, now, max_age) if answer.record else _no_store(answer, now))


def cache_fields(record: bytes, now: int, max_age: int) -> Fields:
    """Return the fields that a 200 and its 304 have in common; caches may keep either for `max_age` seconds at most."""
    times = unpack_record(record)
    fresh = max(0, min(max_age, times.next_update - now))
    return [
        (b"Cache-Control", b"max-age=%d, public, no-transform, must-revalidate" % fresh),
        (b"ETag", entity_tag(record)),
        (b"Last-Modified", imf_fixdate(times.this_update).encode()),
        (b"Expires", imf_fixdate(times.next_update).encode()),
        (b"Date", imf_fixdate(now).encode()),
    ]


def _no_store(answer: OCSPAnswer, now: int) -> Fields:
    retry = [(b"Retry-After", b"%d" % answer.retry_after)] if answer.retry_after is not None else []
    return [(b"Cache-Control", b"no-store"), *retry, (b"Date", imf_fixdate(now).encode())]


#: What the connection does after the answer, as `_fastocsp.http.headers` has it: close, go on, go on and say so, which
#: an HTTP/1.0 client needs (RFC 9112 C.2.2).
CLOSE, KEPT, KEEP_ALIVE = 0, 1, 2
_CONNECTION: dict[int, Fields] = {
    CLOSE: [(b"Connection", b"close")],
    KEPT: [],
    KEEP_ALIVE: [(b"Connection", b"keep-alive")],
}


def write(status: int, head: Fields, body: bytes, *, keep_alive: int) -> bytes:
    """An HTTP/1.1 message; `keep_alive` is CLOSE, KEPT or KEEP_ALIVE."""
    last = _CONNECTION[keep_alive]
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%s: %s" % field for field in head + last]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
