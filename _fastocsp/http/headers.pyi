"""Header sections of requests that were read a moment ago."""

from typing import final

@final
class KnownSections:
    """Eight places; a section is known by its octets, all of them."""

    def __new__(cls) -> KnownSections: ...
