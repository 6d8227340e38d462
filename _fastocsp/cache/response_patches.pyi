"""Whole answers to a GET or POST, head and DER, of which those of one shape are written by copying."""

from typing import final

from _fastocsp.ocsp.response import Template

@final
class Stencils:
    """At most 32 shapes; a caller that changes templates clears them."""

    def __new__(cls) -> Stencils: ...
    def encode(
        self,
        template: Template,
        serial: bytes,
        record: bytes,
        now: int,
        keep_alive: int = 1,
        max_age: int = 0xFFFFFFFF,
    ) -> bytes:
        """Return the HTTP message of a 200 at that epoch second, which caches may keep for at most `max_age` seconds.

        ValueError: record or serial do not belong to the template, or the record has no signature. The template must
        stay alive until `clear`.
        """
    def place(self, template: Template, serial: bytes, record: bytes, now: int) -> int | None:
        """The place of the answer's shape, 0..31; None for one that is not kept."""
    def clear(self) -> None:
        """Remove every shape from the cache."""
