"""The admin API: issuers, certificates, revoking and releasing. Errors are {"error": sentence}.

A certificate's id is `{issuer_id}:{serial_hex}`. Revoking answers with the word of coherence: CONFIRMED, BOUNDED or
UNKNOWN.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cachewarm.admin.auth import admins_only, problem
from cachewarm.admin.bulk import bulk_revoke
from cachewarm.admin.crls import crl_cache
from cachewarm.admin.reload import ReloadRefused
from cachewarm.admin.request_body import TooLarge, read_moment, read_object, read_reason, read_wait, waiting_of
from cachewarm.config import Settings
from cachewarm.errors import CachewarmError, Fatal, Refused, Transient
from cachewarm.ledger import inventory, issuers
from cachewarm.ledger.connect import open_pool
from cachewarm.ledger.feed import feed_position
from cachewarm.revocation import revoke as revocation
from responder.domain.issuer import check_issuer_id
from responder.domain.serial import parse_serial, serial_hex
from responder.domain.status import CRLReason
from responder.errors import LINK_FAILURES

#: They ask by turns for everybody who waits, and hold none of the connections that revoke.
WAITING_CONNECTIONS = 3
READY_TIMEOUT_S = 2.0


async def health(_: Request) -> Response:
    """200 while the process can answer."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 while the ledger answers, 503 otherwise."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S), request.app.state.pool.acquire() as connection:
            await feed_position(connection)
    except (CachewarmError, *LINK_FAILURES):
        return JSONResponse({"ready": False, "reasons": ["the ledger does not answer"]}, 503)
    return JSONResponse({"ready": True, "reasons": []})


@admins_only
async def list_issuers(request: Request) -> Response:
    """GET /api/v1/issuers: all issuers of the ledger."""
    async with request.app.state.pool.acquire() as connection:
        rows = [_issuer(row) for row in await issuers.list_issuers(connection)]
    return JSONResponse({"issuers": rows, "row_count": len(rows), "generated_at": _now()})


@admins_only
async def get_certificate(request: Request) -> Response:
    """GET /api/v1/certificates/{id}: one certificate and its status."""
    target = _target(request)
    async with request.app.state.pool.acquire() as connection:
        found = await inventory.get_certificate(connection, target.issuer_id, target.serial)
    if found is None:
        return problem(404, f"{target.issuer_id} has no certificate {serial_hex(target.serial)}")
    return JSONResponse(_certificate(found))


@admins_only
async def revoke(request: Request) -> Response:
    """POST /api/v1/certificates/{id}/revoke?wait=SECONDS with {"reason": name, "invalidity_date": time} or less."""
    target, asked = _target(request), await read_object(request)
    reason, since, wait = read_reason(asked), read_moment(asked, "invalidity_date"), read_wait(request)
    done = await revocation.revoke(
        request.app.state.pool,
        target,
        reason=reason,
        invalidity_date=since,
        actor=request.state.actor.name,
        waiting=waiting_of(request, wait),
    )
    return _done(done)


@admins_only
async def unhold(request: Request) -> Response:
    """POST /api/v1/certificates/{id}/unhold?wait=SECONDS: release a hold."""
    target, wait = _target(request), read_wait(request)
    done = await revocation.unhold(
        request.app.state.pool, target, actor=request.state.actor.name, waiting=waiting_of(request, wait)
    )
    return _done(done)


@admins_only
async def reload(request: Request) -> Response:
    """POST /api/v1/reload: take renewed files; 409 with {"error", "kind"} when they are refused, and all stays."""
    try:
        done = request.app.state.reloader.reload()
    except ReloadRefused as error:
        return JSONResponse({"error": str(error), "kind": error.kind.value}, 409)
    return JSONResponse(
        {
            "result": "reloaded",
            "certificate_not_after": done.certificate_not_after.isoformat(),
            "api_keys": done.api_keys,
        }
    )


def build_app(settings: Settings) -> Starlette:
    """Return the application; its pools live as long as it does."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        url = settings.require_database()
        app.state.pool = await open_pool(url, name="fastocsp admin")
        app.state.waiting = await open_pool(url, name="fastocsp admin waiting", size=WAITING_CONNECTIONS)
        try:
            yield
        finally:
            await app.state.waiting.close()
            await app.state.pool.close()

    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/livez", health),
            Route("/readyz", ready),
            Route("/api/v1/issuers", list_issuers),
            Route("/api/v1/admin/crl/cache", crl_cache),
            Route("/api/v1/reload", reload, methods=["POST"]),
            Route("/api/v1/certificates/bulk-revoke", bulk_revoke, methods=["POST"]),
            Route("/api/v1/certificates/{id}", get_certificate),
            Route("/api/v1/certificates/{id}/revoke", revoke, methods=["POST"]),
            Route("/api/v1/certificates/{id}/unhold", unhold, methods=["POST"]),
        ],
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _no_route,
            TooLarge: _too_large,
            ValueError: _unfit,
            Refused: _refused,
            Transient: _away,
            Fatal: _away,
        },
    )
    app.state.settings = settings
    return app


async def _no_route(_: Request, error: Exception) -> Response:
    """404 and 405, in the form of the other errors."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _too_large(_: Request, error: Exception) -> Response:
    return problem(413, str(error))


async def _unfit(_: Request, error: Exception) -> Response:
    return problem(400, str(error))


async def _refused(_: Request, error: Exception) -> Response:
    return problem(409, str(error))


async def _away(_: Request, error: Exception) -> Response:
    return problem(503, str(error))


def _target(request: Request) -> revocation.Target:
    issuer_id, colon, serial = request.path_params["id"].rpartition(":")
    if not colon:
        raise ValueError("a certificate's id is ISSUER_ID:SERIAL_HEX")
    return revocation.Target(check_issuer_id(issuer_id), parse_serial(serial))


def _done(done: revocation.RevocationOutcome) -> Response:
    result, waited = done.result, done.waited
    return JSONResponse(
        {
            "result": waited.outcome.value,
            "issuer_id": done.target.issuer_id,
            "serial_number": serial_hex(done.target.serial),
            "changed": result.changed if result else None,
            "revoked_at": result.revoked_at.isoformat() if result and result.revoked_at else None,
            "reason": result.reason.name if result and result.reason is not None else None,
            "invalidity_date": result.invalidity_date.isoformat() if result and result.invalidity_date else None,
            "remark": done.remark,
            "until": waited.until.isoformat() if waited.until else None,
            "edges": list(waited.edges),
        }
    )


def _issuer(row: issuers.Issuer) -> dict[str, Any]:
    return {
        "issuer_id": row.issuer_id,
        "subject": row.subject,
        "responder_mode": row.responder_mode,
        "ocsp_url": row.ocsp_url,
        "crl_url": row.crl_url,
        "unissued_policy": row.unissued_policy,
        "publishes_crl": row.publishes_crl,
    }


def _certificate(row: inventory.Certificate) -> dict[str, Any]:
    return {
        "id": f"{row.issuer_id}:{serial_hex(row.serial_number)}",
        "issuer_id": row.issuer_id,
        "serial_number": serial_hex(row.serial_number),
        "subject": row.subject,
        "not_before": row.not_before.isoformat(),
        "not_after": row.not_after.isoformat(),
        "status": row.status,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        "reason": CRLReason(row.reason).name if row.reason is not None else None,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat()
