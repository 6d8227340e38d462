"""`fastocsp` commands without the half second of imports: a process that has imported everything forks for each.

A forked command is a process of its own with the argv, environment, working folder and three standard streams that its
caller gives, and its exit status is the caller's to judge. It runs `cachewarm.cli.main` as `python -m` does. What a
fork cannot change is left to a cold process: a preloaded library, and settings of the interpreter.

Run as a program it is the server: `FOLDER`, until its standard input ends.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.support import warm_client
from tests.support.warm_client import LENGTH, receive

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "cachewarm.cli.main"
#: Exit status of an interpreter that cannot write out what was printed.
_NOT_FLUSHED = 120
_START_S = 30
#: Variables that are read before the first line of Python.
_SETTLED = ("LD_", "PYTHON", "LC_", "LANG", "MALLOC_", "OPENSSL_")
_lock = threading.Lock()


def run(
    words: Sequence[str], *, env: Mapping[str, str], cwd: Path | str, timeout_s: float, cold: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run a command and return how it ended; nothing is on its standard input. `cold`: by an interpreter of its own."""
    null = Path(os.devnull)
    with null.open("rb") as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if cold or _settled(env) != _settled(os.environ):
            program = [sys.executable, "-m", COMMAND, *words]
            status = subprocess.run(
                program, env=env, cwd=cwd, stdin=given, stdout=out, stderr=err, timeout=timeout_s, check=False
            ).returncode
        else:
            fds = given.fileno(), out.fileno(), err.fileno()
            status = warm_client.request(server(), list(words), dict(env), str(cwd), fds, timeout_s)
        return subprocess.CompletedProcess(list(words), status, _text(out), _text(err))


def shell_command() -> str:
    """Return a shell script that stands for the program `fastocsp`."""
    return f'#!/bin/sh\nexec "{sys.executable}" -I -S "{warm_client.__file__}" "{server()}" "$@"\n'


def server() -> str:
    """Return the socket of this process's server."""
    with _lock:
        return _start_server()


def _settled(env: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in env.items() if name.startswith(_SETTLED) and name != "PYTHONPATH"}


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode())


@functools.cache
def _start_server() -> str:
    """Start the server, which ends with this process, and return its socket."""
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-warm-"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_command", folder],
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C is for pytest, which ends the server then
    )
    atexit.register(_stop_server, process, folder)
    deadline = time.monotonic() + _START_S
    while not (folder / "commands").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server of commands did not start")
        time.sleep(0.01)
    return str(folder / "commands")


def _stop_server(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        process.communicate(timeout=10)
    process.kill()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def preload() -> None:
    """Import what commands import, but the module that is run."""
    for name in ("cachewarm.cli", "cachewarm.ledger", "cachewarm.status", "cachewarm.revocation", "cachewarm.crl"):
        for found in pkgutil.iter_modules(importlib.import_module(name).__path__, f"{name}."):
            if found.name != COMMAND:
                importlib.import_module(found.name)
    importlib.import_module("cachewarm.mirror.sync")


def serve(folder: Path) -> dict[str, Any] | None:
    """Fork a process per request. Return None when standard input ends, and in a child what it has to run."""
    preload()
    gc.collect()
    gc.freeze()
    running: dict[int, tuple[int, socket.socket]] = {}  # pidfd: (pid, where the status goes)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "starting"))
        listener.listen(64)
        (folder / "starting").rename(folder / "commands")
        while True:
            ready, _, _ = select.select([0, listener.fileno(), *running], [], [])
            for pidfd in running.keys() & set(ready):
                _report(pidfd, *running.pop(pidfd))
            if 0 in ready:
                return None
            if listener.fileno() in ready:
                line, _ = listener.accept()
                head, fds, _, _ = socket.recv_fds(line, LENGTH, 3)
                told = dict(json.loads(receive(line, int.from_bytes(head, "big"))))
                pid = os.fork()
                if not pid:
                    _take_over(fds)
                    for kept, (_, other) in running.items():
                        os.close(kept)
                        other.close()
                    line.close()
                    return told
                for fd in fds:
                    os.close(fd)
                line.sendall(pid.to_bytes(LENGTH, "big"))
                running[os.pidfd_open(pid)] = pid, line


def _report(pidfd: int, pid: int, line: socket.socket) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(pidfd)
    with line, contextlib.suppress(OSError):
        line.sendall(status.to_bytes(LENGTH, "big", signed=True))


def _take_over(fds: Sequence[int]) -> None:
    """Make them the standard streams."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)


def become(told: dict[str, Any]) -> NoReturn:
    """Run the command in this process as `python -m` does, and leave without taking the interpreter apart."""
    os.environ.clear()
    os.environ.update(told["env"])
    time.tzset()
    os.chdir(told["cwd"])
    sys.argv[1:] = told["words"]
    status = _run_module()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as every exit does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = _NOT_FLUSHED
    os._exit(status)


def _run_module() -> int:
    try:
        runpy.run_module(COMMAND, run_name="__main__", alter_sys=True)
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return (left.code or 0) & 0xFF
        sys.stderr.write(f"{left.code}\n")
        return 1
    except BaseException:  # any at all ends a program with a traceback
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """The server, and in a child of it the command."""
    told = serve(Path(sys.argv[1]))
    if told is not None:
        become(told)


if __name__ == "__main__":
    main()
