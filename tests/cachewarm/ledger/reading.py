"""The feed as the read side reads it, for tests of the side that writes it."""

from typing import NamedTuple
from uuid import UUID

from _fastocsp.revoked.ledger_wire import parse_items
from cachewarm.ledger.connect import Connection
from responder.clock import Instant
from responder.feed.machine import GENESIS, Poll, PollReply, Position, follows
from responder.feed.poll import Who, poll

REVOKE, RELEASE, PURGE = 1, 2, 3
NOBODY = Who(None, UUID(int=0), 1)

__all__ = ["GENESIS", "PURGE", "RELEASE", "REVOKE", "FeedItem", "feed_read", "follows", "items_of"]


class FeedItem(NamedTuple):
    """An item with its members' names; reason 255 is none."""

    op: int
    issuer_no: int
    serial_number: bytes
    revoked_at: int
    reason: int


async def feed_read(connection: Connection, generation: int, seq: int, chain: bytes) -> PollReply:
    """What follows, without a lease."""
    return await poll(connection, NOBODY, Poll(1, Instant(0, 0, 0), Position(generation, seq, chain)))


def items_of(payload: bytes) -> list[FeedItem]:
    """The items of a payload."""
    return [FeedItem(*item) for item in parse_items(payload)]
