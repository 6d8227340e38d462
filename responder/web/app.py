"""The cold lane's routes (compat.md). Paths are never cleaned and never redirected: base64 has slashes of its own."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from responder.edge.edge import Edge
from responder.telemetry import INDEX
from responder.web import health, ocsp
from responder.web.crl import CRL_TYPE, crl_fields, http_date, is_unchanged

PKI = "/.well-known/pki"
_FOUND_NOTHING = {"Cache-Control": "no-store"}


async def crl(request: Request) -> Response:
    """GET and HEAD /.well-known/pki/crl/{issuer_id}, and /delta or the number of a shard after it."""
    edge: Edge = request.app.state.edge
    shelved = edge.crls.get("/".join(request.path_params.values()))
    if shelved is None:
        return PlainTextResponse("no CRL here\n", 404, headers=_FOUND_NOTHING)
    now = int(time.time())
    if shelved.entry.next_update <= now:
        edge.counters.add(INDEX["crl_expired_served"])
    head = crl_fields(shelved, now)
    if is_unchanged(shelved, _joined(request, "if-none-match"), request.headers.get("if-modified-since")):
        return Response(status_code=304, headers=head)
    edge.counters.add(INDEX["crl_served"])
    return Response(shelved.der, media_type=CRL_TYPE, headers=head)


async def issuer(request: Request) -> Response:
    """GET and HEAD /.well-known/pki/issuer/{issuer_id}: the certificate, DER (RFC 5280 4.2.2.1)."""
    edge: Edge = request.app.state.edge
    found = edge.catalog.by_id.get(request.path_params["issuer_id"])
    if found is None:
        return PlainTextResponse("no such issuer\n", 404, headers=_FOUND_NOTHING)
    return Response(
        found.cert_der, media_type="application/pkix-cert", headers={"Cache-Control": "public, max-age=3600"}
    )


def build_app(edge: Edge) -> Starlette:
    """The application of one worker; its lifespan starts and stops the edge."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await edge.start()
        try:
            yield
        finally:
            await edge.stop()

    app = Starlette(routes=_routes(), lifespan=lifespan, middleware=[Middleware(Dated)])
    app.router.redirect_slashes = False
    app.state.edge = edge
    return app


class Dated:
    """Adds Date (RFC 9110 6.6.1) where an endpoint did not, and keeps errors out of caches."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Date", http_date(int(time.time())))
                if message["status"] >= 400:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, dated)


def _routes() -> list[Route]:
    return [
        Route("/health", health.health),
        Route("/ready", health.ready),
        Route("/metrics", health.metrics),
        Route("/ocsp", ocsp.post, methods=["POST"]),
        Route("/ocsp/", ocsp.post, methods=["POST"]),
        Route("/ocsp/{rest:path}", ocsp.get),
        Route(f"{PKI}/ocsp/{{issuer_id}}", ocsp.post, methods=["POST"]),
        Route(f"{PKI}/ocsp/{{issuer_id}}/", ocsp.post, methods=["POST"]),
        Route(f"{PKI}/ocsp/{{issuer_id}}/{{rest:path}}", ocsp.get),
        Route(f"{PKI}/crl/{{issuer_id}}", crl),
        Route(f"{PKI}/crl/{{issuer_id}}/{{part}}", crl),
        Route(f"{PKI}/issuer/{{issuer_id}}", issuer),
    ]


def _joined(request: Request, name: str) -> str | None:
    values = request.headers.getlist(name)
    return ", ".join(values) if values else None
