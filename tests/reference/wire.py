"""The recogniser of plain OCSP requests on regular expressions, the independent twin of _fastocsp.http.request.

The whole of what it takes is one pattern for the head and a few rules on the fields; nothing is remembered between
calls. None: more bytes are needed. False: the head is complete and another parser must decide.
"""

import re
from typing import Any, Literal, NamedTuple

MAX_HEAD = 8192
OCSP = rb"(?:/ocsp|/\.well-known/pki/ocsp/(?P<issuer_id>[!-\"$&-.0->@-~]+))(?P<path>[!-\"$->@-~]*)"
TARGET = rb"(?:" + OCSP + rb"|/\.well-known/pki/crl/(?P<crl>[!-\"$->@-~]+))"
LINE = rb"(?P<method>GET|POST) " + TARGET + rb" HTTP/1\.(?P<minor>[01])\r\n"
FIELD = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n"
HEAD = re.compile(LINE + rb"(?P<fields>(?:" + FIELD + rb")*)\r\n")
LEFT_TO_OTHERS = {b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"}
KEPT = {
    b"if-none-match": "if_none_match",
    b"if-modified-since": "if_modified_since",
    b"x-forwarded-for": "forwarded_for",
}
AT_MOST_ONCE = {b"host", b"content-length", b"content-type", *KEPT}

Fields = list[tuple[bytes, bytes]]


class Framing(NamedTuple):
    """What the fields say of the message."""

    length: int | None
    typed: bool
    keep_alive: int


def recognise(octets: bytes, max_body: int = 16384) -> dict[str, Any] | Literal[False] | None:
    """As _fastocsp.http.request.recognise_octets."""
    if b"\r\n\r\n" not in octets:
        return None
    head = HEAD.match(octets)
    if head is None or head.end() - 2 > MAX_HEAD:
        return False
    fields = [split(line) for line in head["fields"].split(b"\r\n")[:-1]]
    framing = framing_of(fields, old=head["minor"] == b"0")
    if framing is None or not path_fits(head["method"], head["path"], head["crl"], dict(fields)):
        return False
    end, path = head.end(), head["path"] or b""
    taken: dict[str, Any] = {
        "method": head["method"].decode(),
        "issuer_id": head["issuer_id"] or head["crl"] or b"",
        "rest": path if head["method"] == b"POST" else path[1:],
        "body": b"",
        "consumed": end,
        "keep_alive": framing.keep_alive,
        "crl": head["crl"] is not None,
    }
    taken |= {key: dict(fields).get(name, b"") for name, key in KEPT.items()}
    if head["method"] == b"GET":
        return taken if framing.length is None else False
    if not framing.length or framing.length > max_body or not framing.typed:
        return False
    taken["body"] = octets[end : end + framing.length]
    taken["consumed"] = end + framing.length
    return taken if taken["consumed"] <= len(octets) else None


def split(line: bytes) -> tuple[bytes, bytes]:
    """Lower-case name and trimmed value."""
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


def path_fits(method: bytes, path: bytes, crl: bytes | None, fields: dict[bytes, bytes]) -> bool:
    """POST goes to the collection itself, GET to something in it, or to a CRL that the client has one of."""
    if crl is not None:
        return method == b"GET" and (b"if-none-match" in fields or b"if-modified-since" in fields)
    return path in (b"", b"/") if method == b"POST" else len(path) > 1 and path.startswith(b"/")


def framing_of(fields: Fields, *, old: bool) -> Framing | None:
    """None for anything that has two readings, or is the full parser's business."""
    names = [name for name, _ in fields]
    values = dict(fields)
    if LEFT_TO_OTHERS & set(names) or any(names.count(name) > 1 for name in AT_MOST_ONCE):
        return None
    if (b"host" not in values and not old) or any(values.get(name) == b"" for name in (b"host", *KEPT)):
        return None
    wishes = [value.lower() for name, value in fields if name == b"connection"]
    length = values.get(b"content-length")
    if not set(wishes) <= {b"close", b"keep-alive"}:
        return None
    if length is not None and not re.fullmatch(rb"0|[1-9][0-9]{0,8}", length):
        return None
    typed = values.get(b"content-type", b"").lower() == b"application/ocsp-request"
    return Framing(None if length is None else int(length), typed, keep_alive_of(wishes, old=old))


def keep_alive_of(wishes: list[bytes], *, old: bool) -> int:
    """0: closed; 1: kept; 2: kept because an HTTP/1.0 client asked for it, which is told so (RFC 9112 9.3, C.2.2)."""
    if b"close" in wishes:
        return 0
    return (2 if b"keep-alive" in wishes else 0) if old else 1
