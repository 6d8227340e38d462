"""Frames between the warmer and its signing processes, over two pipes.

A frame is its length u32, a kind u8, the number of a pair u32, and a body: runs of bytes, each behind its length u32.
PAIR hands over a key, its responder certificate and its issuer's certificate, and is not answered. SIGN has a serial
and an unsigned record for each signature wanted, and is answered by a frame of as many signatures, in that order.
"""

from struct import Struct
from typing import BinaryIO, NamedTuple

PAIR, SIGN = 0, 1
HEAD = Struct(">IBI")


class Frame(NamedTuple):
    """One frame; `pair` is the issuer number of the pair that is meant."""

    kind: int
    pair: int
    body: bytes


def pack(frame: Frame) -> bytes:
    """The bytes of the frame."""
    return HEAD.pack(len(frame.body), frame.kind, frame.pair) + frame.body


def read(stream: BinaryIO) -> Frame | None:
    """The next frame; None at the end of the stream, in the middle of a frame too."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    length, kind, pair = HEAD.unpack(head)
    body = stream.read(length)
    return Frame(kind, pair, body) if len(body) == length else None
