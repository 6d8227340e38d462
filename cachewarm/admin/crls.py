"""GET /api/v1/admin/crl/cache: the CRL of every issuer, and its last builds."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cachewarm.admin.auth import admins_only
from cachewarm.status.crl_cache import cache_rows


@admins_only
async def crl_cache(request: Request) -> Response:
    """Return {cache_rows, row_count, generated_at}."""
    async with request.app.state.pool.acquire() as connection:
        return JSONResponse(await cache_rows(connection))
