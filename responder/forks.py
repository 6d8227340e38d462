"""Processes that a fork server makes (responder/fork_server.py), as seen by the one that asks for them."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from responder.fork_server import ORDER_BYTES, command_line, own_environment

#: Seconds until a process is there: a fork server that has just been started loads its modules first.
START_S = 60.0
_MESSAGE_BYTES = 4096


class ForkFailed(OSError):
    """The fork server is gone, or could not fork."""


class ForkedProcess:
    """A process that was asked for, with the methods of asyncio's and subprocess's that are needed here."""

    def __init__(self, line: socket.socket, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._line, self._pidfd = line, pidfd
        self._watch: asyncio.Task[int] | None = None

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""
        if self.returncode is None and _is_readable(self._line, 0):
            self._take_status()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it unless the process has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process."""
        self.send_signal(signal.SIGKILL)

    def wait_for(self, seconds: float) -> int | None:
        """Return the exit status once it has ended, None after that many seconds."""
        if self.returncode is None and _is_readable(self._line, seconds):
            self._take_status()
        return self.returncode

    async def wait(self) -> int:
        """Return the exit status once it has ended; any number of tasks may wait."""
        if self.returncode is not None:
            return self.returncode
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_end())
        return await asyncio.shield(self._watch)

    async def _watch_end(self) -> int:
        await _readable(self._line)
        return self._take_status()

    def _take_status(self) -> int:
        message = self._line.recv(_MESSAGE_BYTES)
        # without a message the fork server is gone, and has taken this process along
        self.returncode = int(json.loads(message)["status"]) if message else -signal.SIGTERM
        self._line.close()
        os.close(self._pidfd)
        return self.returncode


class ForkServer:
    """The way to a fork server: one that we start, or that of the process that started us."""

    def __init__(self, requests: socket.socket, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self.requests = requests
        self._process = process

    @classmethod
    def start(cls, modules: list[str], environ: Mapping[str, str] | None = None) -> "ForkServer":
        """Start one that loads these modules; it ends with this process and with `end`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                command_line(theirs.fileno(), modules),
                env=dict(environ) if environ is not None else own_environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the process that asks: it ends the others in its order
            )
        return cls(ours, process)

    @classmethod
    def at(cls, fd: int) -> "ForkServer":
        """Use that of the process that passed the file descriptor."""
        return cls(socket.socket(fileno=fd))

    @property
    def pid(self) -> int | None:
        """Of the fork server; None for one that another process started."""
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether it can be asked; one that others started is taken to run, as we would end with it."""
        return self._process is None or self._process.poll() is None

    def end(self) -> None:
        """End it, and with it every process that it made."""
        self.requests.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def fork(
        self,
        module: str,
        words: Sequence[str],
        environ: Mapping[str, str],
        *,
        pass_fds: Sequence[int] = (),
        output: int | None = None,
    ) -> ForkedProcess:
        """Return a process that runs `main()` of the module as `python -m MODULE WORDS PARENT` would.

        "@N" among the words stands for the Nth of `pass_fds`; `output` is its standard output and error, ours by
        default. Raises ForkFailed.
        """
        line = self._ask(module, words, environ, pass_fds, output)
        if not _is_readable(line, START_S):
            raise ForkFailed(f"the fork server did not start {module} within {START_S:.0f} s")
        return _process_of(line)

    async def start_module(
        self, module: str, words: Sequence[str], environ: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> ForkedProcess:
        """The same for a running event loop."""
        line = self._ask(module, words, environ, pass_fds, None)
        async with asyncio.timeout(START_S):
            await _readable(line)
        return _process_of(line)

    def _ask(
        self, module: str, words: Sequence[str], environ: Mapping[str, str], fds: Sequence[int], output: int | None
    ) -> socket.socket:
        """Send an order to a child that is about to be forked, and return the line to it."""
        order = {"module": module, "words": list(words), "environ": dict(environ), "cwd": str(Path.cwd())}
        octets = json.dumps(order).encode()
        if len(octets) > ORDER_BYTES:
            raise ForkFailed(f"the settings of {module} have {len(octets)} bytes, {ORDER_BYTES} at most can be passed")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            streams = (1, 2) if output is None else (output, output)
            socket.send_fds(ours, [octets], [*streams, *fds])
            try:
                socket.send_fds(self.requests, [b"f"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise ForkFailed(f"the fork server is gone: {error}") from error
        return ours


def _process_of(line: socket.socket) -> ForkedProcess:
    message, fds, _, _ = socket.recv_fds(line, _MESSAGE_BYTES, 1)
    told: dict[str, Any] = json.loads(message) if message else {"error": "it ended"}
    if "error" in told:
        line.close()
        raise ForkFailed(f"the fork server could not fork: {told['error']}")
    return ForkedProcess(line, told["pid"], fds[0])


def _is_readable(line: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(line, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


async def _readable(line: socket.socket) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(line.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(line.fileno())
