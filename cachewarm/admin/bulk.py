"""POST /api/v1/certificates/bulk-revoke?wait=SECONDS: many serial numbers of one issuer, one word for all of them."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cachewarm.admin.auth import admins_only
from cachewarm.admin.request_body import read_object, read_reason, read_wait, waiting_of
from cachewarm.revocation.bulk_revoke import parse_serials, revoke_many
from responder.domain.issuer import check_issuer_id


@admins_only
async def bulk_revoke(request: Request) -> Response:
    """{"issuer_id": name, "serial_numbers": [hex, ..], "reason": name}; one number that cannot be read revokes none."""
    asked, wait = await read_object(request), read_wait(request)
    serials = asked.get("serial_numbers")
    if not isinstance(serials, list) or not serials:
        raise ValueError("serial_numbers is a list of hexadecimal serial numbers")
    done = await revoke_many(
        request.app.state.pool,
        check_issuer_id(str(asked["issuer_id"])) if asked.get("issuer_id") else "",
        parse_serials(map(str, serials)),
        reason=read_reason(asked),
        actor=request.state.actor.name,
        waiting=waiting_of(request, wait),
    )
    return JSONResponse(done.facts())
