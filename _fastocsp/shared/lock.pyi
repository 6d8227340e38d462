"""A mutex between Python and a thread that runs without the GIL."""

from typing import Self, final

@final
class Lock:
    """Not recursive; Python lets go of the GIL while it waits."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
