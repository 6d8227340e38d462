"""The golden vectors, and what tests do to bytes: cut, append, flip."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _fastocsp.wire.errors import WireError

VECTORS = Path(__file__).parent.parent / "vectors"
INDEX: dict[str, dict[str, dict[str, str]]] = tomllib.loads((VECTORS / "index.toml").read_text())


def octets_of(group: str, name: str) -> bytes:
    """The bytes of one vector."""
    return (VECTORS / group / name).read_bytes()


def vectors(group: str, expect: str | None = None) -> dict[str, bytes]:
    """All vectors of a group by name, or those of one kind."""
    return {name: octets_of(group, name) for name, row in INDEX[group].items() if expect in (None, row["expect"])}


def prefixes(octets: bytes) -> Iterator[bytes]:
    """Every proper prefix, the empty one included."""
    return (octets[:n] for n in range(len(octets)))


def flips(octets: bytes, masks: tuple[int, ...] = (0x01, 0x20, 0x80, 0xFF)) -> Iterator[bytes]:
    """The bytes with each one xor-ed with each mask."""
    for at, octet in enumerate(octets):
        for mask in masks:
            yield octets[:at] + bytes((octet ^ mask,)) + octets[at + 1 :]


def outcome(parse: Callable[[bytes], Any], octets: bytes) -> Any:
    """The value, or the class of the WireError; any other exception is a bug and passes through."""
    try:
        return parse(octets)
    except WireError as error:
        return type(error)
