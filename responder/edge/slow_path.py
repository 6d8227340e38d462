"""The slow lane: a plain request that the hot lane left, answered as one task, written as the hot lane writes.

And the one place where a refusal becomes an answer: the cold lane goes through `settle` as well.
"""

from collections.abc import Awaitable

import structlog

from _fastocsp.http.response import is_not_modified
from _fastocsp.shared.counters import Counters
from responder.edge.http_answers import OCSPAnswer, cache_fields, fields, refusal_answer, write
from responder.edge.rules import Answerer
from responder.errors import Broken, ForbiddenNonce, MalformedNonce, Refusal
from responder.hotpath.slow_request import SlowRequest
from responder.telemetry import INDEX

log = structlog.get_logger("edge")


async def settle(answering: Awaitable[OCSPAnswer], counters: Counters) -> OCSPAnswer:
    """The answer, or the refusal's; counted."""
    try:
        answer = await answering
    except Refusal as refusal:
        if isinstance(refusal, MalformedNonce | ForbiddenNonce):
            counters.add(INDEX["nonce_malformed"])
        answer = refusal_answer(refusal)
    except Exception:
        # the connection shell: a defect must cost one answer, not the worker
        log.exception("answering failed")
        answer = refusal_answer(Broken())
    counters.add(INDEX[f"answers:{answer.label}"])
    return answer


def respond(
    answer: OCSPAnswer,
    *,
    is_get: bool,
    if_none_match: bytes,
    if_modified_since: bytes,
    now: int,
    max_age: int,
    keep_alive: int,
) -> bytes:
    """Return the answer as HTTP, a 304 when the client's copy is current.

    `max_age`: seconds that caches may keep it at most.
    """
    if is_get and answer.record and is_not_modified(if_none_match, if_modified_since, answer.record):
        return write(304, cache_fields(answer.record, now, max_age), b"", keep_alive=keep_alive)
    return write(answer.http_status, fields(answer, now, max_age), answer.body, keep_alive=keep_alive)


async def answer_slowly(request: SlowRequest, answerer: Answerer, counters: Counters, now: int, max_age: int) -> bytes:
    """HTTP of the answer to a request that the hot lane left."""
    if request.is_get:
        answering = answerer.by_path(request.rest, request.issuer_id)
    else:
        answering = answerer.by_der(request.body, request.issuer_id)
    return respond(
        await settle(answering, counters),
        is_get=request.is_get,
        if_none_match=request.if_none_match,
        if_modified_since=request.if_modified_since,
        now=now,
        max_age=max_age,
        keep_alive=request.keep_alive,
    )
