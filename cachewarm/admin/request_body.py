"""Read requests to the admin API: their JSON object, their ?wait=, their reason. ValueError names what is wrong."""

import json
from datetime import datetime
from typing import Any

import structlog
from starlette.requests import Request

from cachewarm.ledger.connect import lent
from cachewarm.ledger.holders import HolderWatch
from cachewarm.revocation.confirmation import Waiting
from cachewarm.revocation.revoke import check_moment
from responder.domain.status import CRLReason
from responder.web.body import read_body

log = structlog.get_logger("admin")
LONGEST_WAIT_S = 300.0
MAX_BODY = 1 << 20


class TooLarge(ValueError):
    """A body over MAX_BODY."""


async def read_object(request: Request) -> dict[str, Any]:
    """The body, {} when there is none."""
    octets = await read_body(request, MAX_BODY)
    if octets is None:
        raise TooLarge(f"a body has at most {MAX_BODY} bytes")
    try:
        asked = json.loads(octets) if octets.strip() else {}
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from error
    if not isinstance(asked, dict):
        raise ValueError("the body is a JSON object")
    return asked


def read_wait(request: Request) -> float | None:
    """Return ?wait= in seconds; `true` waits to the bound; absent or 0 does not wait."""
    text = request.query_params.get("wait", "0").lower()
    if text in ("true", "yes", ""):
        return LONGEST_WAIT_S
    try:
        seconds = 0.0 if text in ("false", "no") else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise ValueError(f"wait is 0 to {LONGEST_WAIT_S:.0f} seconds")
    return seconds or None


def waiting_of(request: Request, wait: float | None) -> Waiting:
    """Return how that request waits for the edges: on connections that revoke nothing."""
    waiting = request.app.state.waiting
    watch = HolderWatch(connect=lambda: lent(waiting), tell=lambda text: log.warning("revocation waits", why=text))
    return Waiting(wait is not None, wait, waiting, watch)


def read_reason(asked: dict[str, Any]) -> CRLReason:
    """Its name; `unspecified` when there is none."""
    reason = CRLReason.parse(str(asked.get("reason") or "unspecified"))
    if reason is CRLReason.removeFromCRL:
        raise ValueError("removeFromCRL takes a certificate off hold: POST .../unhold")
    return reason


def read_moment(asked: dict[str, Any], name: str) -> datetime | None:
    """Return the field of that name: ISO 8601, UTC when it names no zone, None when it is absent."""
    text = asked.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise ValueError(f"{name} is a time in the form 2026-05-04T10:00:00Z, not {str(text)[:40]!r}") from error
    return check_moment(moment, name)
