"""Refusals of the edge: each row holds OCSP status, HTTP status, Retry-After and metric label together.

RFC 6960 4.2.1 names the OCSP statuses; compat.md of the house decides which situation gets which.
"""

from _fastocsp.wire.codes import INTERNAL_ERROR, MALFORMED_REQUEST, TRY_LATER, UNAUTHORIZED


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
    """Unknown issuer, unknown serial, unknown critical extension, a nonce out of range."""

    ocsp_status, label = UNAUTHORIZED, "unauthorized"


class Limited(Refusal):
    """Over the per-address limit."""

    ocsp_status, retry_after, label = UNAUTHORIZED, 60, "limited"


class TryLater(Refusal):
    """The signing lane is full, or nothing behind the edge answers."""

    ocsp_status, retry_after, label = TRY_LATER, 5, "try_later"


class Closed(Refusal):
    """The lease has run out: nothing but `revoked` may be said."""

    ocsp_status, retry_after, label = TRY_LATER, 5, "closed"


class ClosedUnauthorized(Refusal):
    """The same, for those who set ON_CLOSED=unauthorized."""

    ocsp_status, label = UNAUTHORIZED, "closed"


class Broken(Refusal):
    """A defect of ours; the log has it."""

    ocsp_status, http_status, label = INTERNAL_ERROR, 200, "error"


class SourceError(Exception):
    """A tier behind the table did not answer; the next one is asked, or the client told to try later."""
