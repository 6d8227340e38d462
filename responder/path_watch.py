"""Files and folders that were replaced, or came to be, after a process was confined to those that were there.

Landlock's rules are about files, not about names: a certificate, a password file or a resolver's configuration that is
renamed into place, and a folder that was missing, cannot be opened by a process that was confined before. It ends then,
and is started again by the process that started it.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

#: Seconds between two looks; each is a stat for each path.
PAUSE_S = 10.0
Identity = tuple[int, int]


class PathWatch:
    """Which file each of the paths was when it was made."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._were = {path: _identity(path) for path in paths}

    def replaced(self) -> Path | None:
        """Return a path that is another file or folder than it was; one that is gone is none."""
        for path, was in self._were.items():
            now = _identity(path)
            if now is not None and now != was:
                return path
        return None

    async def wait(self, more_s: float = 0.0) -> Path:
        """Return a path once it was replaced, `more_s` seconds later: processes of one kind end by turns."""
        while (path := self.replaced()) is None:
            await asyncio.sleep(PAUSE_S)
        await asyncio.sleep(more_s)
        return path


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
