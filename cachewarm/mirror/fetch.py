"""One CRL from its source: http, https or file; DER or PEM; bounded in size, time and redirects.

A redirect leads to http or https alone, so that nobody who answers can make us read a file. A copy that the source says
is unchanged is not transferred (RFC 9110 13). The time limit is for the whole of it: a watchdog shuts the socket, so a
source that sends a header octet a minute costs no more than one that is silent. Blocking: to be run in a thread.
"""

import base64
import binascii
import http.client
import io
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path
from typing import Any

from cachewarm.mirror.deadline_socket import Watch, opener
from cachewarm.mirror.faults import Fault, NotMirrored

SCHEMES = ("http", "https", "file")
_PIECE = 1 << 16
_PEM = re.compile(rb"-----BEGIN X509 CRL-----\s+([A-Za-z0-9+/=\s]+?)-----END X509 CRL-----")


@dataclass(frozen=True)
class Limits:
    """Octets of a CRL; seconds without an octet (connecting too) and in all."""

    octets: int
    idle_s: float
    total_s: float


@dataclass(frozen=True)
class Known:
    """What the source said about the copy that is here; None where it said nothing or there is none."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A CRL as DER, `der` None when it is unchanged, and what to ask with the next time."""

    der: bytes | None
    known: Known


def fetch(url: str, known: Known, limits: Limits) -> Fetched:
    """The CRL at that URL; NotMirrored with the reason when there is none."""
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise NotMirrored(Fault.UNREACHABLE, f"{url} is neither http, https nor file")
    fetched = _read_file(url, limits) if scheme == "file" else _request(url, known, limits)
    return fetched if fetched.der is None else replace(fetched, der=der_of(fetched.der))


def der_of(octets: bytes) -> bytes:
    """The same CRL as DER; what is neither PEM nor DER is left for the parser to refuse."""
    if octets.lstrip()[:5] != b"-----":
        return octets
    found = _PEM.search(octets)
    if found is None:
        raise NotMirrored(Fault.FORM, "PEM of something that is not one X509 CRL")
    try:
        return base64.b64decode(re.sub(rb"\s+", b"", found[1]), validate=True)
    except binascii.Error as error:
        raise NotMirrored(Fault.FORM, f"PEM that does not decode: {error}") from error


def _read_file(url: str, limits: Limits) -> Fetched:
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise NotMirrored(Fault.UNREACHABLE, f"{url} names another host")
    try:
        with Path(urllib.request.url2pathname(parts.path)).open("rb") as file:
            octets = file.read(limits.octets + 1)
    except (OSError, ValueError) as error:
        raise NotMirrored(Fault.UNREACHABLE, f"{url}: {error}") from error
    if len(octets) > limits.octets:
        raise _oversized(url, limits)
    return Fetched(octets, Known())


def _request(url: str, known: Known, limits: Limits) -> Fetched:
    request = urllib.request.Request(url, headers=_headers(known))  # noqa: S310 - the schemes are checked
    watch = Watch()
    with watch.limited(limits.total_s), _typed(url, watch, limits):
        with opener(watch).open(request, timeout=limits.idle_s) as answer:
            octets = _body(url, answer, limits)
        if watch.is_over:
            raise TimeoutError
        return Fetched(octets, _said(answer.headers))
    return Fetched(None, known)  # 304 came as an error


def _headers(known: Known) -> dict[str, str]:
    headers = {"Accept": "application/pkix-crl, */*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "fastocsp"}
    if known.etag is not None:
        headers["If-None-Match"] = known.etag
    if known.last_modified is not None:
        headers["If-Modified-Since"] = known.last_modified
    return headers


def _said(headers: Message) -> Known:
    return Known(headers.get("ETag"), headers.get("Last-Modified"))


def _body(url: str, answer: Any, limits: Limits) -> bytes:
    if answer.status != 200:
        raise NotMirrored(Fault.STATUS, f"{url} answers {answer.status}")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise NotMirrored(Fault.FORM, f"{url} sends a content coding that was not asked for")
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > limits.octets:
        raise _oversized(url, limits)
    body = io.BytesIO()  # whose value is no copy
    while piece := answer.read(_PIECE):
        body.write(piece)
        if body.tell() > limits.octets:
            raise _oversized(url, limits)
    if length.isdigit() and body.tell() < int(length):
        raise NotMirrored(Fault.TRUNCATED, f"{url} sent {body.tell()} of {length} octets")
    return body.getvalue()


def _oversized(url: str, limits: Limits) -> NotMirrored:
    return NotMirrored(Fault.OVERSIZED, f"{url} has more than {limits.octets} octets (CRL_FETCH_MAX_BYTES)")


def _slow(url: str, limits: Limits) -> NotMirrored:
    return NotMirrored(Fault.SLOW, f"{url} took more than {limits.total_s:g} s")


@contextmanager
def _typed(url: str, watch: Watch, limits: Limits) -> Iterator[None]:
    """What goes wrong while asking, by its kind; a 304 is nothing wrong."""
    try:
        yield
    except NotMirrored as error:
        if watch.is_over:
            raise _slow(url, limits) from error
        raise
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.client.NOT_MODIFIED:
            raise NotMirrored(Fault.STATUS, f"{url} answers {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if watch.is_over:
            raise _slow(url, limits) from error
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise NotMirrored(Fault.SLOW, f"{url} sent nothing for {limits.idle_s:g} s") from error
        fault = Fault.TRUNCATED if isinstance(reason, http.client.IncompleteRead) else Fault.UNREACHABLE
        raise NotMirrored(fault, f"{url}: {reason or type(reason).__name__}") from error
