"""Request bodies, of bounded size."""

from starlette.requests import Request


async def read_body(request: Request, limit: int) -> bytes | None:
    """The body, or None when it is, or says it will be, over the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > limit:
            return None
    return body
