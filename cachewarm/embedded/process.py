"""One child process that cannot outlive us.

PR_SET_PDEATHSIG sends it a signal when the *thread* that made it ends, so it is made from the main thread; a change of
user clears it, so it is set after that one (Popen changes the user before it calls preexec_fn). Output goes to a log.
"""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from cachewarm.embedded.accounts import Account
from cachewarm.errors import Fatal, Interrupted, Refused

_PR_SET_PDEATHSIG = 1
_LOG_KEPT = 8 << 20
#: A process that was sent SIGKILL and is still there after so many seconds hangs in the kernel: it is left behind.
_KILL_S = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


class Child:
    """A server under our eyes: started, awaited, stopped in order or by force."""

    def __init__(
        self,
        argv: Iterable[str | Path],
        *,
        log: Path,
        death_signal: signal.Signals,
        account: Account | None = None,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a child process is made from the main thread: its death signal follows the thread")
        self.argv, self.log = [str(word) for word in argv], log
        with open_log(log) as output:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd or "/",
                env=environment() | dict(environ or {}),
                start_new_session=True,
                preexec_fn=_die_with_parent(death_signal),  # noqa: PLW1509 - two system calls, no lock
                **as_account(account),
            )

    @property
    def pid(self) -> int:
        """Process number of the server, or None."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait_ready(
        self, ready: Callable[[], bool], *, timeout_s: float, gives_up: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait until `ready` returns True.

        Raise Fatal with the log's last lines when the process ends or the time is up, and Interrupted when `gives_up`
        returns True.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if gives_up():
                raise Interrupted(f"stopped while waiting for {Path(self.argv[0]).name}")
            if self.exit_status is not None:
                raise Fatal(f"{Path(self.argv[0]).name} ended with status {self.exit_status}: {tail(self.log)}")
            if time.monotonic() > deadline:
                self.stop([])
                raise Fatal(f"{Path(self.argv[0]).name} is not ready after {timeout_s:.0f} s: {tail(self.log)}")
            time.sleep(0.02)

    def stop(self, signals: Iterable[tuple[signal.Signals, float]]) -> None:
        """Send each signal and wait its seconds; SIGKILL at the end. No wait is unbounded."""
        for number, patience_s in signals:
            if self.exit_status is not None:
                return
            self._process.send_signal(number)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        if self.exit_status is None:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILL_S)


def run_as(argv: Iterable[str | Path], account: Account | None, *, cwd: Path, pass_fds: Iterable[int] = ()) -> None:
    """Run a program to its end as that account; Refused with what it said."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words,
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        pass_fds=tuple(pass_fds),
        **as_account(account),
    )
    if done.returncode:
        raise Refused(f"{Path(words[0]).name} failed: {(done.stderr or done.stdout).strip()[-2000:]}")


def as_account(account: Account | None) -> dict[str, Any]:
    """Popen's words for `run as that account`: its group alone, none of ours."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def environment() -> dict[str, str]:
    """Return the environment for a server: ours without secrets and PG* names."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _die_with_parent(number: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def before_exec() -> None:
        if _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)  # the parent was gone before the signal was armed

    return before_exec


def open_log(path: Path) -> IO[bytes]:
    """The log, appended to; the one before is kept once it is large."""
    if path.exists() and path.stat().st_size > _LOG_KEPT:
        path.replace(path.with_suffix(".log.1"))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    return os.fdopen(handle, "ab")


def tail(log: Path, octets: int = 1500) -> str:
    """The last lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - octets))
        return file.read().decode(errors="replace").strip()
