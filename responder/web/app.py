"""The cold lane's routes (compat.md). Paths are not redirected, and cleaned only in front: base64 has slashes."""

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

from responder.edge.context import EdgeContext
from responder.edge.crl_shelf import http_date
from responder.web import health, ocsp
from responder.web.crl import crl

PKI = "/.well-known/pki"
_FOUND_NOTHING = {"Cache-Control": "no-store"}


async def issuer(request: Request) -> Response:
    """GET and HEAD /.well-known/pki/issuer/{issuer_id}: the certificate, DER (RFC 5280 4.2.2.1)."""
    edge: EdgeContext = request.app.state.edge
    found = edge.catalog.by_id.get(request.path_params["issuer_id"])
    if found is None:
        return PlainTextResponse("no such issuer\n", 404, headers=_FOUND_NOTHING)
    return Response(
        found.cert_der, media_type="application/pkix-cert", headers={"Cache-Control": "public, max-age=3600"}
    )


def build_app(edge: EdgeContext) -> Starlette:
    """The application of one worker; its lifespan starts and stops the edge."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await edge.start()
        try:
            yield
        finally:
            await edge.stop()

    app = Starlette(routes=_routes(), lifespan=lifespan, middleware=[Middleware(Dated), Middleware(OneLeadingSlash)])
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


class OneLeadingSlash:
    """Takes slashes in front for one, which clients write that put a path behind a URL that ends with a slash."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        if scope["type"] == "http" and scope["path"].startswith("//"):
            raw = b"/" + scope["raw_path"].lstrip(b"/")
            scope = {**scope, "path": "/" + scope["path"].lstrip("/"), "raw_path": raw}
        await self._app(scope, receive, send)


def _routes() -> list[Route]:
    return [
        Route("/health", health.health),
        Route("/livez", health.health),
        Route("/ready", health.ready),
        Route("/readyz", health.ready),
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
