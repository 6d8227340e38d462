"""Which bytes of a representation a request asks for: one byte range (RFC 9110 14), gzip or not (12.5.3). Pure."""

import re

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,15})-(\d{0,15})", re.IGNORECASE)
_CODING = re.compile(r"\s*([A-Za-z0-9_*.-]+)\s*(?:;\s*q=(\d(?:\.\d{0,3})?)\s*)?")


class Unsatisfiable(Exception):
    """The range begins behind the end: 416."""


def byte_range(field: str | None, length: int) -> tuple[int, int] | None:
    """(first, behind the last) of the one range asked for.

    None when the whole is to be sent: no range, several, another unit, or a range that is none (RFC 9110 14.2 lets a
    server ignore any).
    """
    match = _RANGE.fullmatch(field.strip()) if field else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        if int(match[2]) == 0:
            raise Unsatisfiable
        return max(0, length - int(match[2])), length
    first, last = int(match[1]), int(match[2] or length - 1)
    if match[2] and last < first:
        return None
    if first >= length:
        raise Unsatisfiable
    return first, min(last + 1, length)


def accepts_gzip(field: str | None) -> bool:
    """The client named gzip, or anything, with a weight above 0; one that names nothing gets the DER as it is."""
    weights: dict[str, float] = {}
    for part in (field or "").split(","):
        match = _CODING.fullmatch(part)
        if match is not None:
            weights[match[1].lower()] = float(match[2] or 1)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0
