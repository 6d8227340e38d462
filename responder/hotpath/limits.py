"""Limits of one worker's connection loop: how many, how much and how long; each from its setting."""

from typing import NamedTuple, Self

from _fastocsp.shared.bucket import Bucket
from responder.config import EdgeSettings

#: File of the rate limit that all workers share, in the run folder.
LIMITER_NAME = "limiter.map"


class Limits(NamedTuple):
    """Limits of one loop; times in seconds."""

    connections: int
    patience_s: float  # for a request to arrive
    reading_s: float  # for answers to be read that the socket did not take
    idle_s: float
    read_ahead: int  # bytes of pipelined requests
    slow_lane: int  # requests that wait for Python, and
    nonce_lane: int  # those of them that wait for a signature of their own
    asking_s: float = 2.0  # for the signer to answer
    per_address: int = 256  # connections that one IPv4 address or IPv6 /64 may have

    @classmethod
    def of(cls, settings: EdgeSettings) -> Self:
        """As they are set."""
        return cls(
            settings.max_connections,
            settings.header_timeout,
            settings.write_timeout,
            settings.keep_alive_timeout,
            settings.pipelined_bytes,
            settings.slow_lane,
            settings.signer_lane,
            settings.signer_timeout,
            settings.max_connections_per_ip,
        )


def limiter_octets(settings: EdgeSettings) -> int:
    """Return the bytes of the shared rate limit's file."""
    return Bucket.size(settings.rate_limit_slots)
