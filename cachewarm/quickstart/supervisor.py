"""Keeps the quickstart's processes running: started, watched, started again when they end, stopped in order.

It is a plain loop in the main thread: the kernel ends a child when the thread that made it ends.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from cachewarm.embedded.process import environment, open_log
from cachewarm.errors import Interrupted
from cachewarm.quickstart.child import FORKS, MODULES
from responder.forks import ForkedProcess, ForkServer

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


class Forks:
    """The process that our own programs are forked from; it is started when it is needed, and again when it has ended.

    Its environment has no secret, and neither has it: `python -m responder.fork_server`.
    """

    def __init__(self) -> None:
        self._server: ForkServer | None = None

    def server(self) -> ForkServer:
        """Return the one that runs."""
        if self._server is None or not self._server.is_running:
            inherited = {key: os.environ[key] for key in ("PYTHONPATH", "HOME") if key in os.environ}
            self._server = ForkServer.start(MODULES, environment() | inherited)
        return self._server

    @property
    def pid(self) -> int | None:
        """Process number of the one that was started last; None before the first."""
        return self._server.pid if self._server is not None else None

    def end(self) -> None:
        """End the server or process."""
        if self._server is not None:
            self._server.end()


class Program:
    """One of our own processes, as `python -m cachewarm.quickstart.child NAME`, its settings in its environment."""

    def __init__(self, forks: Forks, name: str, environ: Mapping[str, str], log_path: Path) -> None:
        self._forks, self._name, self._environ, self._log = forks, name, environ, log_path
        self._process: ForkedProcess | None = None

    @property
    def pid(self) -> int | None:
        """None before start and after stop."""
        return self._process.pid if self._process else None

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else 0

    def start(self) -> None:
        """Start it; it says by itself when it is ready."""
        server = self._forks.server()
        is_edge = self._name == "edge"
        with open_log(self._log) as output:
            self._process = server.fork(
                "cachewarm.quickstart.child",
                [self._name, *((FORKS, "@0") if is_edge else ())],
                self._environ,
                pass_fds=[server.requests.fileno()] if is_edge else [],
                output=output.fileno(),
            )

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if that takes too long."""
        if self._process is not None:
            self._process.terminate()
            if self._process.wait_for(STOP_PATIENCE_S) is None:
                self._process.kill()
                self._process.wait_for(STOP_PATIENCE_S)
            self._process = None


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
