"""The process at the other end of a Unix socket, as the kernel noted it when it connected (SO_PEERCRED, unix(7))."""

import asyncio
import socket
import struct
from typing import NamedTuple

_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """Process and account of a peer."""

    pid: int
    uid: int


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Return the peer of a Unix socket's transport."""
    octets = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(octets)
    return Peer(pid, uid)
