"""Keeps the quickstart's processes running: started, watched, started again when they end, stopped in order.

It is a plain loop in the main thread: the kernel ends a child when the thread that made it ends.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from cachewarm.embedded.process import Child
from cachewarm.errors import Interrupted

log = structlog.get_logger("supervisor")
HEALTHY_S = 10.0
PAUSE_S = (0.1, 5.0)
STOP_PATIENCE_S = 15.0


class ManagedProgram(Protocol):
    """A process that can be started again."""

    @property
    def pid(self) -> int | None: ...  # noqa: D102
    @property
    def exit_status(self) -> int | None: ...  # noqa: D102
    def start(self) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102


class Program:
    """One of our own processes: `python -m cachewarm.quickstart.child NAME`, its settings in its environment."""

    def __init__(self, name: str, environ: Mapping[str, str], log_path: Path) -> None:
        inherited = {key: os.environ[key] for key in ("PYTHONPATH", "HOME") if key in os.environ}
        self._name, self._environ, self._log = name, {**inherited, **environ}, log_path
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """None before start and after stop."""
        return self._child.pid if self._child else None

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._child.exit_status if self._child else 0

    def start(self) -> None:
        """Start it; it says by itself when it is ready."""
        self._child = Child(
            [sys.executable, "-m", "cachewarm.quickstart.child", self._name],
            log=self._log,
            death_signal=signal.SIGTERM,
            cwd=Path.cwd(),
            environ=self._environ,
        )

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        if self._child is not None:
            self._child.stop([(signal.SIGTERM, STOP_PATIENCE_S)])
            self._child = None


class Supervisor:
    """Programs by name, in the order in which they are started."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.programs: dict[str, ManagedProgram] = {}
        self._changed = changed
        self._begun: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._retry_at: dict[str, float] = {}
        self.stopping = False

    def start(self, name: str, program: ManagedProgram) -> None:
        """Start it and keep it from now on."""
        self.programs[name] = program
        self._begun[name] = time.monotonic()
        program.start()

    def pids(self) -> dict[str, int | None]:
        """Process numbers by name; None for one that is being started again."""
        return {name: program.pid if program.exit_status is None else None for name, program in self.programs.items()}

    def tick(self) -> None:
        """Start again what has ended."""
        for name, program in self.programs.items():
            if program.exit_status is not None and not self.stopping:
                self._restart(name, program)

    def _restart(self, name: str, program: ManagedProgram) -> None:
        now = time.monotonic()
        if name not in self._retry_at:
            healthy = now - self._begun[name] > HEALTHY_S
            pause = PAUSE_S[0] if healthy else min(2 * self._pauses.get(name, PAUSE_S[0] / 2), PAUSE_S[1])
            self._pauses[name], self._retry_at[name] = pause, now + pause
            log.error("process ended", name=name, status=program.exit_status, again_in_s=pause)
            self._changed()
        if now < self._retry_at[name]:
            return
        del self._retry_at[name]
        self._begun[name] = now
        try:
            program.start()
        except Interrupted:
            return
        except Exception:  # one server that cannot start must not take the others down; it is tried again
            log.exception("program not started", name=name)
        self._changed()

    def stop(self) -> None:
        """Stop everything, the last started first; a program that cannot be stopped does not keep the others."""
        self.stopping = True
        for name, program in reversed(self.programs.items()):
            log.info("program stopping", name=name)
            try:
                program.stop()
            except Exception:  # the rest must end as well
                log.exception("program not stopped", name=name)
