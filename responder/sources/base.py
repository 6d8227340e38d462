"""The one interface of every tier."""

from typing import NamedTuple, Protocol

from responder.domain.key import Key


class Found(NamedTuple):
    """A record, and whether it may be kept: answers for serials never issued are not."""

    record: bytes
    storable: bool


class Source(Protocol):
    """A tier: `None` means "I have none", SourceError "I cannot say", Unauthorized "there will be none"."""

    async def fetch(self, key: Key) -> Found | None:
        """The record of that key."""
        ...
