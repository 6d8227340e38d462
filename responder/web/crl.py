"""GET and HEAD of a CRL: whole, gzipped or a range of it, in pieces that never hold up the other connections."""

import time
from collections.abc import AsyncIterator

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from responder.edge.context import EdgeContext
from responder.edge.crl_shelf import CRL_TYPE, ShelvedCRL, crl_fields, is_unchanged, parse_date
from responder.telemetry import INDEX
from responder.web.ranges import Unsatisfiable, accepts_gzip, byte_range

log = structlog.get_logger("crl")
#: Sent at a time: the writer waits for the client after each.
PIECE = 1 << 17
_SAID_EVERY_S = 60.0
_said: dict[str, float] = {}


async def crl(request: Request) -> Response:
    """GET and HEAD /.well-known/pki/crl/{issuer_id}, and /delta or the number of a shard after it."""
    edge: EdgeContext = request.app.state.edge
    name = "/".join(request.path_params.values())
    shelved = edge.crls.get(name)
    if shelved is None:
        return PlainTextResponse("no CRL here\n", 404, headers={"Cache-Control": "no-store"})
    now = int(time.time())
    if shelved.entry.next_update <= now:
        edge.counters.add(INDEX["crl_expired_served"])
        _complain(name, shelved)
    head = crl_fields(shelved, now)
    if is_unchanged(shelved, _joined(request, "if-none-match"), request.headers.get("if-modified-since")):
        edge.counters.add(INDEX["crl_not_modified"])
        return Response(status_code=304, headers=head)
    edge.counters.add(INDEX["crl_served"])
    return _selected(request, shelved, head)


def _selected(request: Request, crl: ShelvedCRL, head: dict[str, str]) -> Response:
    length = len(crl.der)
    try:
        part = byte_range(_ranged(request, crl), length) if request.method == "GET" else None
    except Unsatisfiable:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{length}", "Cache-Control": "no-store"})
    if part is not None:
        head |= {"Content-Range": f"bytes {part[0]}-{part[1] - 1}/{length}"}
        return _sent(request, crl.der[slice(*part)], head, 206)
    if crl.packed is not None and _takes_gzip(request, crl):
        return _sent(request, crl.packed, head | {"Content-Encoding": "gzip"}, 200)
    return _sent(request, crl.der, head, 200)


def _ranged(request: Request, crl: ShelvedCRL) -> str | None:
    """Range, unless If-Range names another representation (RFC 9110 13.1.5): our tag is weak, so it never matches; a
    date does not tell the CRL from the same gzipped, of which the client may have the beginning.
    """
    condition = request.headers.get("if-range")
    if condition is not None and (parse_date(condition) != crl.entry.this_update or _takes_gzip(request, crl)):
        return None
    return _joined(request, "range")


def _takes_gzip(request: Request, crl: ShelvedCRL) -> bool:
    return crl.packed is not None and accepts_gzip(_joined(request, "accept-encoding"))


def _sent(request: Request, octets: memoryview, head: dict[str, str], status: int) -> Response:
    fields = head | {"Content-Length": str(len(octets))}
    if request.method == "HEAD":
        return Response(status_code=status, headers=fields, media_type=CRL_TYPE)
    return StreamingResponse(_pieces(octets), status, headers=fields, media_type=CRL_TYPE)


async def _pieces(octets: memoryview) -> AsyncIterator[memoryview]:
    for at in range(0, len(octets), PIECE):
        yield octets[at : at + PIECE]


def _complain(name: str, crl: ShelvedCRL) -> None:
    """Once a minute: a client that is served this has to refuse it."""
    now = time.monotonic()
    if now - _said.get(name, -_SAID_EVERY_S) >= _SAID_EVERY_S:
        _said[name] = now
        log.error("expired CRL served", crl=name, number=crl.entry.number, next_update=crl.entry.next_update)


def _joined(request: Request, name: str) -> str | None:
    values = request.headers.getlist(name)
    return ", ".join(values) if values else None
