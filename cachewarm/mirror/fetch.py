"""Fetch the bytes at a CRL source: http, https or file; bounded in size, time and redirects.

A redirect keeps its scheme and never leads from a public address to a private or local one, so that no source can make
this host read a file or query its own network. A copy that the source says is unchanged is not transferred (RFC 9110
13). The time limit is for the whole fetch: a watchdog shuts the socket, so a source that sends one header byte per
minute costs no more than a silent one. Blocking: run it in a thread.
"""

import http.client
import io
import os
import stat
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any

from cachewarm.crl.rules import Rule
from cachewarm.mirror.deadline_socket import Watch, opener
from cachewarm.mirror.faults import NotMirrored, SourceFault

SCHEMES = ("http", "https", "file")
_PIECE = 1 << 16
#: Characters of a validator that are kept; a longer one is not sent back.
_VALIDATOR_LIMIT = 1000


@dataclass(frozen=True)
class Limits:
    """Bytes of a CRL; seconds without a byte (connecting too) and in all."""

    max_bytes: int
    idle_s: float
    total_s: float


@dataclass(frozen=True)
class Validators:
    """The validators of the copy that is here (RFC 9110 8.8); None where the source sent none or there is no copy."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def is_conditional(self) -> bool:
        """Whether a request with these is a conditional one."""
        return self.etag is not None or self.last_modified is not None


NO_VALIDATORS = Validators()


@dataclass(frozen=True)
class FetchedCRL:
    """Body that the source sent, None when its copy is unchanged, and the validators for the next request."""

    body: bytes | None
    validators: Validators


def fetch(url: str, validators: Validators, limits: Limits, watch: Watch | None = None) -> FetchedCRL:
    """Return what is at that URL; NotMirrored with the reason when there is nothing. `watch.end()` ends it."""
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError as error:
        raise NotMirrored(SourceFault.UNREACHABLE, f"not a URL: {url!r} ({error})") from error
    if scheme not in SCHEMES:
        raise NotMirrored(SourceFault.UNREACHABLE, f"{url} is neither http, https nor file")
    return _read_file(url, limits) if scheme == "file" else _request(url, validators, limits, watch or Watch())


def _read_file(url: str, limits: Limits) -> FetchedCRL:
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise NotMirrored(SourceFault.UNREACHABLE, f"{url} names another host")
    try:
        # not blocking, as a FIFO without a writer would
        descriptor = os.open(urllib.request.url2pathname(parts.path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotMirrored(SourceFault.UNREACHABLE, f"{url} is not a regular file")
            body = file.read(limits.max_bytes + 1)
    except (OSError, ValueError) as error:
        raise NotMirrored(SourceFault.UNREACHABLE, f"{url}: {error}") from error
    if len(body) > limits.max_bytes:
        raise _oversized(url, limits)
    return FetchedCRL(body, NO_VALIDATORS)


def _request(url: str, validators: Validators, limits: Limits, watch: Watch) -> FetchedCRL:
    request = urllib.request.Request(url, headers=_headers(validators))  # noqa: S310 - the schemes are checked
    with watch.limited(limits.total_s), _typed(url, watch, limits):
        with opener(watch).open(request, timeout=limits.idle_s) as answer:
            body = _body(url, answer, limits)
        if watch.is_over:
            raise TimeoutError
        return FetchedCRL(body, _validators(answer.headers))
    if not validators.is_conditional:  # 304 came as an error
        raise NotMirrored(SourceFault.STATUS, f"{url} answers 304 to an unconditional request")
    return FetchedCRL(None, validators)


def _headers(validators: Validators) -> dict[str, str]:
    headers = {"Accept": "application/pkix-crl, */*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "fastocsp"}
    if validators.etag is not None:
        headers["If-None-Match"] = validators.etag
    if validators.last_modified is not None:
        headers["If-Modified-Since"] = validators.last_modified
    return headers


def _validators(headers: Message) -> Validators:
    return Validators(_sendable(headers.get("ETag")), _sendable(headers.get("Last-Modified")))


def _sendable(value: str | None) -> str | None:
    """Return a validator that can be stored and sent back, else None."""
    is_sendable = value is not None and value.isascii() and value.isprintable() and 0 < len(value) <= _VALIDATOR_LIMIT
    return value if is_sendable else None


def _body(url: str, answer: Any, limits: Limits) -> bytes:
    if answer.status != 200:
        raise NotMirrored(SourceFault.STATUS, f"{url} answers {answer.status}")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise NotMirrored(Rule.FORM, f"{url} sends a content coding that was not asked for")
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > limits.max_bytes:
        raise _oversized(url, limits)
    body = io.BytesIO()  # whose value is no copy
    while piece := answer.read(_PIECE):
        body.write(piece)
        if body.tell() > limits.max_bytes:
            raise _oversized(url, limits)
    if length.isdigit() and body.tell() < int(length):
        raise NotMirrored(SourceFault.TRUNCATED, f"{url} sent {body.tell()} of {length} bytes")
    return body.getvalue()


def _oversized(url: str, limits: Limits) -> NotMirrored:
    return NotMirrored(SourceFault.OVERSIZED, f"{url} has more than {limits.max_bytes} bytes (CRL_FETCH_MAX_BYTES)")


def _slow(url: str, limits: Limits) -> NotMirrored:
    return NotMirrored(SourceFault.SLOW, f"{url} took more than {limits.total_s:g} s")


@contextmanager
def _typed(url: str, watch: Watch, limits: Limits) -> Iterator[None]:
    """Turn failures of a request into NotMirrored by their kind; a 304 is none."""
    try:
        yield
    except NotMirrored as error:
        if watch.is_over:
            raise _slow(url, limits) from error
        raise
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.client.NOT_MODIFIED:
            raise NotMirrored(SourceFault.STATUS, f"{url} answers {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if watch.is_over:
            raise _slow(url, limits) from error
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise NotMirrored(SourceFault.SLOW, f"{url} sent nothing for {limits.idle_s:g} s") from error
        fault = SourceFault.TRUNCATED if isinstance(reason, http.client.IncompleteRead) else SourceFault.UNREACHABLE
        raise NotMirrored(fault, f"{url}: {reason or type(reason).__name__}") from error
