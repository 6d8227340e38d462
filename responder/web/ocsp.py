"""OCSP in the cold lane: requests that came chunked, in pieces, with HEAD, over HTTP/1.0, or with odd fields.

The answers are the hot lane's, byte for byte; only the way to them differs.
"""

import time
from collections.abc import Coroutine
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from _fastocsp.http.response import is_not_modified
from responder.edge.context import EdgeContext
from responder.edge.http_answers import Fields, OCSPAnswer, cache_fields, fields
from responder.edge.slow_path import settle
from responder.errors import Limited
from responder.web.body import read_body

REQUEST_TYPE = "application/ocsp-request"
#: An answer that does not wait for the body ends the connection (RFC 9110 10.1.1, 15.5.14).
_UNREAD = {"Cache-Control": "no-store", "Connection": "close"}


class RawResponse(Response):
    """A response whose header fields are written as given, in their order."""

    def __init__(self, status: int, head: Fields, body: bytes) -> None:
        super().__init__(content=body, status_code=status)
        self.raw_headers = list(head)


async def post(request: Request) -> Response:
    """POST /ocsp and POST /.well-known/pki/ocsp/{issuer_id}."""
    edge: EdgeContext = request.app.state.edge
    content_type = request.headers.get("content-type")
    if content_type is not None and content_type.partition(";")[0].strip().lower() != REQUEST_TYPE:
        return PlainTextResponse(f"Content-Type must be {REQUEST_TYPE}\n", 415, headers=_UNREAD)
    try:
        body = await read_body(request, edge.settings.max_body_size)
    except ClientDisconnect:
        return Response(status_code=400)
    if body is None:
        return PlainTextResponse(f"a request has at most {edge.settings.max_body_size} octets\n", 413, headers=_UNREAD)
    issuer_id = request.path_params.get("issuer_id", "").encode()
    return await _answer(request, edge, edge.answerer.by_der(body, issuer_id))


async def get(request: Request) -> Response:
    """GET and HEAD /ocsp/{base64}, /.well-known/pki/ocsp/{issuer_id}/{base64 or serial_hex}."""
    edge: EdgeContext = request.app.state.edge
    issuer_id = request.path_params.get("issuer_id", "").encode()
    raw: bytes = request.scope["raw_path"]
    rest = raw.split(b"/", 5 if issuer_id else 2)[-1]
    return await _answer(request, edge, edge.answerer.by_path(rest, issuer_id))


async def _limited() -> OCSPAnswer:
    raise Limited


async def _answer(request: Request, edge: EdgeContext, answering: Coroutine[Any, Any, OCSPAnswer]) -> Response:
    if not _within_limit(request, edge):
        answering.close()
        answering = _limited()
    answer = await settle(answering, edge.counters)
    now = int(time.time())
    if answer.record and request.method in ("GET", "HEAD") and _fresh_at_client(request, answer.record):
        return RawResponse(304, cache_fields(answer.record, now, edge.lane.max_age), b"")
    return RawResponse(answer.http_status, fields(answer, now, edge.lane.max_age), answer.body)


def _fresh_at_client(request: Request, record: bytes) -> bool:
    listed = ", ".join(request.headers.getlist("if-none-match"))
    return is_not_modified(
        listed.encode("latin-1"), request.headers.get("if-modified-since", "").encode("latin-1"), record
    )


def _within_limit(request: Request, edge: EdgeContext) -> bool:
    if request.client is None:
        return True
    hops = ", ".join(request.headers.getlist("x-forwarded-for")).encode("latin-1")
    return edge.lane.bucket.allow(edge.client_of(hops, request.client.host), time.monotonic_ns())
