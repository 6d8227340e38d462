"""The refusals of Python and of the connection loop are the same: status, Retry-After and body."""

from inspect import isclass

import pytest
from redis.exceptions import RedisError

from _fastocsp.ocsp.response import error_response
from _fastocsp.wire import codes
from responder import errors
from responder.edge.http_answers import refusal_answer
from responder.errors import Limited, Refusal, SourceError, TryLater, link_failures_as
from responder.sources.redis_reader import REDIS_FAILURES

REFUSALS = [
    each for each in vars(errors).values() if isclass(each) and issubclass(each, Refusal) and each is not Refusal
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.__name__)
def test_refusal_has_an_error_answer_of_the_exported_size(refusal: type[Refusal]) -> None:
    """The compiled lanes claim ERROR_BYTES for each."""
    assert len(refusal_answer(refusal()).body) == codes.ERROR_BYTES
    assert refusal_answer(refusal()).body == error_response(refusal.ocsp_status)


def test_retry_after_is_the_exported_constant() -> None:
    """The compiled lanes write TRY_LATER_S beside tryLater and LIMITED_S beside `unauthorized` over the rate limit."""
    for refusal in REFUSALS:
        expected = {codes.TRY_LATER: codes.TRY_LATER_S}.get(refusal.ocsp_status)
        assert refusal.retry_after == (codes.LIMITED_S if refusal is Limited else expected), refusal
    assert (TryLater.retry_after, Limited.retry_after) == (5, 60)


@pytest.mark.parametrize("failure", [TimeoutError(), ConnectionResetError("gone"), RedisError("down")])
def test_link_failure_becomes_the_wanted_error(failure: Exception) -> None:
    """With its text, or its type where it has none; other exceptions pass."""
    with (
        pytest.raises(SourceError, match=r"redis: (TimeoutError|gone|down)"),
        link_failures_as(SourceError, "redis", REDIS_FAILURES),
    ):
        raise failure
    with pytest.raises(KeyError), link_failures_as(SourceError, "redis"):
        raise KeyError
