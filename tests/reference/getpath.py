"""The GET form on urllib and base64, the independent twin of the strict half of _fastocsp.http.path."""

import base64
import re
from urllib.parse import unquote_to_bytes

from _fastocsp.wire.errors import MalformedRequest

ESCAPED = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)
ALPHABET = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


def decode_get(path: bytes) -> bytes:
    """The bytes that the path is the base64 of, or MalformedRequest; slashes are not repaired."""
    text = unquote_to_bytes(path).lstrip(b"/").translate(bytes.maketrans(b"-_", b"+/"))
    symbols = text.rstrip(b"=")
    padded = symbols + b"=" * (-len(symbols) % 4)
    if not ESCAPED.fullmatch(path) or not ALPHABET.fullmatch(text) or len(text) > len(padded):
        raise MalformedRequest("not base64")
    if len(symbols) % 4 == 1:
        raise MalformedRequest("a symbol is missing")
    octets = base64.b64decode(padded)
    if base64.b64encode(octets) != padded:
        raise MalformedRequest("the fill bits are not zero")
    return octets
