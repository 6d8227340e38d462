"""The life cycle of an embedded server: one data folder, one lock, one child process.

`start()` after any crash, ours or the server's, is the same `start()`. A supervisor calls it again when `exit_status`
is no longer None.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import Signals

from cachewarm.embedded.folders import FolderLock
from cachewarm.embedded.process import Child

#: Returns True when a wait should be given up: the process that waits was asked to stop.
GiveUp = Callable[[], bool]


class EmbeddedServer(ABC):
    """A server of one data folder; subclasses define how it is started.

    `program` names the files in the data folder (`postgres.log`, `postgres.lock`), `title` is used in messages, and
    `stop_signals` are sent in order, each with the seconds that the server then has.
    """

    program: str
    title: str
    stop_signals: Sequence[tuple[Signals, float]]

    def __init__(self, data_dir: Path, run_dir: Path | None, gives_up: GiveUp | None) -> None:
        self.data_dir = data_dir.absolute()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._run_dir = run_dir
        self._gives_up: GiveUp = gives_up or (lambda: False)
        self._lock = FolderLock(self.data_dir / f"{self.program}.lock", self.title)
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """Process number of the server; None before start() and after stop()."""
        return self._child.pid if self._child else None

    @property
    def exit_status(self) -> int | None:
        """None while the server runs."""
        return self._child.exit_status if self._child else 0

    @property
    def log(self) -> Path:
        """File with the server's output."""
        return self.data_dir / f"{self.program}.log"

    def start(self) -> None:
        """Start and wait until the server answers. Raise Refused when another process uses this data folder."""
        if self._child and self._child.exit_status is None:
            return
        self._lock.take()
        self._start()

    @abstractmethod
    def _start(self) -> None: ...

    def stop(self) -> None:
        """Shut down in order, then by force."""
        if self._child:
            self._child.stop(self.stop_signals)
            self._child = None
        self._lock.release()
