"""The request that the connection loop leaves to Python."""

from typing import NamedTuple


class SlowRequest(NamedTuple):
    """The parts of a plain request that an answer depends on."""

    is_get: bool
    issuer_id: bytes
    rest: bytes
    body: bytes
    if_none_match: bytes
    if_modified_since: bytes
    keep_alive: int
