"""The one interface of every tier."""

from typing import NamedTuple, Protocol


class Key(NamedTuple):
    """What a record answers for; hash_algorithm with PARAMETERS_ABSENT, serial as magnitude octets."""

    issuer_no: int
    hash_algorithm: int
    serial: bytes


class Found(NamedTuple):
    """A record, and whether it may be kept: answers for serials never issued are not."""

    record: bytes
    storable: bool


class Source(Protocol):
    """A tier: `None` means "I have none", SourceError "I cannot say", Unauthorized "nobody will have one"."""

    async def fetch(self, key: Key) -> Found | None:
        """The record of that key."""
        ...
