"""Bearer keys of API_KEYS_NAMED: their names, and whether they may change or read everything."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Endpoint = Callable[[Request], Awaitable[Response]]


class Actor(NamedTuple):
    """The name beside the key, and its admin flag."""

    name: str
    admin: bool


def problem(status: int, text: str) -> Response:
    """An error as JSON."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": text}, status, headers=headers)


def actor_of(request: Request, keys: Mapping[str, tuple[str, bool]]) -> Actor | None:
    """Return the holder of the key of `Authorization: Bearer KEY`; every key is compared, whatever is found."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    found = None
    for key, (name, admin) in keys.items():
        if hmac.compare_digest(key.encode(), given.strip().encode()) and scheme.lower() == "bearer":
            found = Actor(name, admin)
    return found


def admins_only(endpoint: Endpoint) -> Endpoint:
    """401 without a key, 403 without the admin flag."""

    async def guarded(request: Request) -> Response:
        actor = actor_of(request, request.app.state.settings.api_keys_named)
        if actor is None:
            return problem(401, "an API key is needed: Authorization: Bearer KEY")
        if not actor.admin:
            return problem(403, f"the key of {actor.name} has no admin flag")
        request.state.actor = actor
        return await endpoint(request)

    return guarded
