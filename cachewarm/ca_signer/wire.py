"""Frames between the CA signer and its clients, over a Unix socket; one request per connection.

A frame is a length of four bytes, big-endian, and that many bytes. A request is a JSON object ({"do": "sign", "issuer":
ID, "purpose": PURPOSE} and so on); to sign, frames of the TBS follow, and an empty one ends it. The reply is a JSON
object, and after {"outcome": "signed"} a frame with the signature. The whole TBS is sent, never its hash.
"""

import json
import struct
from enum import StrEnum
from typing import Any

_LENGTH = struct.Struct(">I")
#: Bytes of one frame of the TBS.
PIECE = 1 << 18
#: Bytes of a JSON object: of a request, and of a reply, which may name ten thousand issuers.
MOST_REQUEST, MOST_REPLY = 1 << 16, 1 << 23
END = _LENGTH.pack(0)


class Outcome(StrEnum):
    """How a request ended. REFUSED is for good; UNAVAILABLE may be repeated."""

    SIGNED = "signed"
    DONE = "done"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class Reason(StrEnum):
    """Why a request was refused; the values are in logs, metrics and replies, and never change."""

    PEER = "peer"
    REQUEST = "request"
    PURPOSE = "purpose"
    FORM = "form"
    ISSUER = "issuer"
    ALGORITHM = "algorithm"
    WINDOW = "window"
    PROFILE = "profile"
    NUMBER = "number"
    STATE = "state"
    KEY = "key"


def pack_length(size: int) -> bytes:
    """Return the length of a frame."""
    return _LENGTH.pack(size)


def unpack_length(octets: bytes) -> int:
    """Return the length that those four bytes are."""
    size: int = _LENGTH.unpack(octets)[0]
    return size


def pack_object(words: dict[str, Any]) -> bytes:
    """Return the frame of a JSON object."""
    octets = json.dumps(words).encode()
    return _LENGTH.pack(len(octets)) + octets


def unpack_object(octets: bytes) -> dict[str, Any]:
    """Return the JSON object of a frame's content; ValueError when it is none."""
    words = json.loads(octets)
    if not isinstance(words, dict):
        raise ValueError("not an object")
    return words
