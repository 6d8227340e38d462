"""Header sections of requests that were read recently."""

from typing import final

@final
class KnownSections:
    """Eight places; a section is known by its bytes, all of them."""

    def __new__(cls) -> KnownSections: ...
