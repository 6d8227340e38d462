"""What the warmer and its signing processes say to each other over two pipes, as octets.

A frame is its length u32, a kind u8, the number of a pair u32, and a body: runs of octets, each behind its length u32.
PAIR hands over a key, its responder certificate and its issuer's certificate, and is not answered. SIGN has a serial
and an unsigned record for each signature wanted, and is answered by a frame of as many signatures, in that order.
"""

from collections.abc import Iterable
from struct import Struct
from typing import BinaryIO, NamedTuple

PAIR, SIGN = 0, 1
HEAD = Struct(">IBI")
_LENGTH = Struct(">I")


class Frame(NamedTuple):
    """One frame; `pair` is the issuer number of the pair that is meant."""

    kind: int
    pair: int
    body: bytes


def pack(frame: Frame) -> bytes:
    """The octets of the frame."""
    return HEAD.pack(len(frame.body), frame.kind, frame.pair) + frame.body


def read(stream: BinaryIO) -> Frame | None:
    """The next frame; None at the end of the stream, in the middle of a frame too."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    length, kind, pair = HEAD.unpack(head)
    body = stream.read(length)
    return Frame(kind, pair, body) if len(body) == length else None


def join(runs: Iterable[bytes]) -> bytes:
    """A body of these runs."""
    return b"".join([part for run in runs for part in (_LENGTH.pack(len(run)), run)])


def split(body: bytes) -> list[bytes]:
    """The runs of a body; ValueError when it ends within one."""
    runs, at, end = [], 0, len(body)
    while at < end:
        start = at + _LENGTH.size
        if start > end:
            raise ValueError("a body ends within a length")
        at = start + int.from_bytes(body[at:start], "big")
        if at > end:
            raise ValueError("a body ends within a run")
        runs.append(body[start:at])
    return runs
