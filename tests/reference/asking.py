"""Frames between edge and signer on `struct`, the independent twin of _fastocsp.ocsp.signer_wire."""

import struct

from _fastocsp.wire.errors import WireError
from tests.reference.record import unpack_record

HEAD = struct.Struct(">IIB")


def split_frames(octets: bytes, most: int) -> tuple[list[tuple[int, int, bytes]], int]:
    """The whole frames, and the bytes that they took; WireError."""
    frames: list[tuple[int, int, bytes]] = []
    at = 0
    while len(frames) < most and len(octets) - at >= 4:
        end = at + 4 + int.from_bytes(octets[at : at + 4], "big")
        if not 9 <= end - at <= (1 << 20) + 4:
            raise WireError("not a frame", at)
        if end > len(octets):
            break
        _, number, kind = HEAD.unpack(octets[at : at + 9])
        frames.append((number, kind, octets[at + 9 : end]))
        at = end
    return frames, at


def pack_asked(number: int, issuer_no: int, hash_algorithm: int, serial: bytes, nonce: bytes) -> bytes:
    """A question about one certificate."""
    body = bytes((len(nonce),)) + nonce + struct.pack(">BHBB", 1, issuer_no, hash_algorithm, len(serial)) + serial
    return HEAD.pack(5 + len(body), number, 2) + body


def unpack_asked(body: bytes) -> tuple[int, int, bytes, bytes] | None:
    """Its parts, or None."""
    nonce = body[1 : 1 + body[0]] if body else b""
    rest = body[1 + len(nonce) :]
    if not body or not 1 <= body[0] <= 32 or len(nonce) != body[0] or len(rest) < 5 or rest[0] != 1:
        return None
    serial = rest[5:]
    if not 1 <= rest[4] <= 21 or len(serial) != rest[4]:
        return None
    return int.from_bytes(rest[1:3], "big"), rest[3], serial, nonce


def unpack_signed(body: bytes) -> tuple[bytes, bytes] | None:
    """Record and DER, or None."""
    end = 3 + int.from_bytes(body[1:3], "big")
    if len(body) < 3 or body[0] != 1 or end >= len(body):
        return None
    try:
        unpack_record(body[3:end])
    except WireError:
        return None
    return body[3:end], body[end:]
