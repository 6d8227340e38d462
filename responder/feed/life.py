"""The lives of an edge: each start of its agent is one, and polls under an id of its own.

A new life names the lives before it in its first poll. That shows the ledger that it comes from the same disk, so that
the processes of the life before have ended. A poll that cannot name them may come from a stranger with a stolen login,
or a second host under the same name: the ledger then waits until the lease of the life before has run out.
"""

import json
import os
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from responder.files import write_file

log = structlog.get_logger("feed")
LIVES_NAME = "lives.json"
#: Starts in a row that never reached the ledger.
MOST = 64


class Life:
    """This life's id, and those of the lives of which one was the last to reach the ledger."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LIVES_NAME
        self.boot = uuid4()
        self.priors = _read(self._path)
        self._confirmed = False
        self._write([*self.priors[-MOST + 1 :], self.boot])

    def begin_another(self) -> UUID:
        """Somebody else polled under this name as a life of their own, and the ledger will not hear this one again."""
        self.priors = [*self.priors[-MOST + 2 :], self.boot]
        self.boot, self._confirmed = uuid4(), False
        self._write([*self.priors, self.boot])
        return self.boot

    def confirm(self) -> None:
        """The ledger knows this life: those before it will not be asked for again."""
        if not self._confirmed:
            self._confirmed = True
            self._write([self.boot])

    def _write(self, lives: list[UUID]) -> None:
        try:
            write_file(self._path, json.dumps([str(life) for life in lives]).encode(), mode=0o600)
        except OSError as error:  # costs the next start that waiters wait for this life's lease
            log.warning("lives not written", path=str(self._path), error=str(error), pid=os.getpid())


def _read(path: Path) -> list[UUID]:
    try:
        return [UUID(life) for life in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError, AttributeError):
        return []
