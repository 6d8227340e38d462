"""Refusals of the edge: each row holds OCSP status, HTTP status, Retry-After and metric label together.

RFC 6960 4.2.1 names the OCSP statuses. And what a lost link raises: one tuple for Postgres and Unix sockets. That of
Redis is in `responder/sources/redis_reader.py`, since a process that talks to no Redis need not load its client.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg

from _fastocsp.wire.codes import INTERNAL_ERROR, LIMITED_S, MALFORMED_REQUEST, TRY_LATER, TRY_LATER_S, UNAUTHORIZED


class Refusal(Exception):
    """Base: an unsigned error answer, never cacheable."""

    ocsp_status: int
    http_status = 200
    retry_after: int | None = None
    label: str


class Malformed(Refusal):
    """Not a DER OCSPRequest, or not base64 of one."""

    ocsp_status, http_status, label = MALFORMED_REQUEST, 400, "malformed"


class MalformedNonce(Refusal):
    """Well-formed DER whose nonce has a forbidden length, under the rfc9654 policy."""

    ocsp_status, label = MALFORMED_REQUEST, "malformed"


class Unauthorized(Refusal):
    """Unknown issuer, unknown serial, unknown critical extension."""

    ocsp_status, label = UNAUTHORIZED, "unauthorized"


class ForbiddenNonce(Unauthorized):
    """Well-formed DER whose nonce has a forbidden length, under the strict policy."""


class Limited(Refusal):
    """Over the per-address limit."""

    ocsp_status, retry_after, label = UNAUTHORIZED, LIMITED_S, "limited"


class TryLater(Refusal):
    """The signing lane is full, or nothing behind the edge answers."""

    ocsp_status, retry_after, label = TRY_LATER, TRY_LATER_S, "try_later"


class Closed(Refusal):
    """The lease has run out: nothing but `revoked` may be said."""

    ocsp_status, retry_after, label = TRY_LATER, TRY_LATER_S, "closed"


class ClosedUnauthorized(Refusal):
    """The same, for those who set ON_CLOSED=unauthorized."""

    ocsp_status, label = UNAUTHORIZED, "closed"


class Broken(Refusal):
    """A defect of ours; the log has it."""

    ocsp_status, http_status, label = INTERNAL_ERROR, 200, "error"


class SourceError(Exception):
    """A tier behind the table did not answer; the next one is asked, or the client told to try later."""


#: What a lost link and a dying server raise; the connection is thrown away. InternalClientError is among them: a server
#: that announces its shutdown before it closes the connection makes asyncpg call the next query an error of its own.
LINK_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


@contextmanager
def link_failures_as(
    kind: Callable[[str], Exception], what: str, failures: tuple[type[Exception], ...] = LINK_FAILURES
) -> Iterator[None]:
    """Raise `kind("what: reason")` instead of one of `failures`."""
    try:
        yield
    except failures as error:
        raise kind(f"{what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The text of an exception, or its type where it has none (TimeoutError)."""
    return str(error) or type(error).__name__
