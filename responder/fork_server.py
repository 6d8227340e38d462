"""`python -m responder.fork_server FD PARENT MODULES ROOM`: forks processes that have loaded their modules already.

Interpreter and modules are most of the memory of our processes. Forked from one process they share it: a further
worker costs a few megabytes instead of fifty, and starts at once. Never in here: a secret. This process is started
with an environment that has none, and reads none: what a child is to run, its settings among it, goes from the
process that asked for it straight to the child (responder/forks.py), over a line that only the child reads.

The parent of all children is this process, so it also ends them when the one that asked for them is gone, and when it
ends itself. It ends when no process holds the other end of FD any more.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from responder.parent import die_with_parent
from responder.process_title import ROOM, set_title
from responder.setting_fields import PREFIX

#: Of an order: program, words, environment.
ORDER_BYTES, MOST_FDS = 1 << 18, 16


@dataclass(frozen=True)
class Child:
    """A process that was forked, and the line to the one that asked for it."""

    pid: int
    pidfd: int
    line: socket.socket


class Children:
    """Forks a child for each request, and reports its end."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)
        self._by_fd: dict[int, Child] = {}

    def serve(self) -> socket.socket | None:
        """Fork until the requests end. Return the line of its order in a child, None in this process."""
        while True:
            ready = [fd for fd, _ in self._poll.poll()]
            for fd in ready:
                if (child := self._by_fd.get(fd)) is not None:
                    self._end(child) if fd == child.pidfd else self._abandon(child)
            if self._requests.fileno() in ready:  # last: a new child may have the number of a file just closed
                request, fds, _, _ = socket.recv_fds(self._requests, 1, 1)
                if not request:
                    return None
                line = socket.socket(fileno=fds[0])
                if self._fork(line):
                    return line

    def _fork(self, line: socket.socket) -> bool:
        """Return True in the child."""
        try:
            pid = os.fork()
        except OSError as error:
            socket.send_fds(line, [json.dumps({"error": str(error)}).encode()], [])
            line.close()
            return False
        if not pid:
            self._forget()
            return True
        child = Child(pid, os.pidfd_open(pid), line)
        for fd, events in ((child.pidfd, select.POLLIN), (line.fileno(), 0)):
            self._by_fd[fd] = child
            self._poll.register(fd, events)
        self._send(child, {"pid": pid}, [child.pidfd])
        return False

    def _end(self, child: Child) -> None:
        _, status = os.waitpid(child.pid, 0)
        self._send(child, {"status": os.waitstatus_to_exitcode(status)}, [])
        for fd in (child.pidfd, child.line.fileno()):
            if self._by_fd.pop(fd, None) is not None:
                self._poll.unregister(fd)
        os.close(child.pidfd)
        child.line.close()

    def _abandon(self, child: Child) -> None:
        """The one that asked for it is gone, as if it had been the parent."""
        fd = child.line.fileno()
        del self._by_fd[fd]
        self._poll.unregister(fd)
        signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)

    def _send(self, child: Child, message: dict[str, Any], fds: list[int]) -> None:
        with suppress(OSError):  # the other end is gone: the poll reports that too
            socket.send_fds(child.line, [json.dumps(message).encode()], fds)

    def _forget(self) -> None:
        """In a child: close what belongs to the others."""
        self._requests.close()
        for child in set(self._by_fd.values()):
            os.close(child.pidfd)
            child.line.close()


def run_order(line: socket.socket, parent: int) -> None:
    """Become the process that was asked for: environment, files, folder, title; then run its module."""
    die_with_parent(signal.SIGTERM, parent)
    os.setsid()
    order, fds, _, _ = socket.recv_fds(line, ORDER_BYTES, MOST_FDS)
    line.close()
    told = json.loads(order)
    for number, fd in zip((1, 2), fds[:2], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    kept = fds[2:]
    for fd in kept:
        os.set_inheritable(fd, True)
    os.environ.update(told["environ"])
    os.chdir(told["cwd"])
    words = [str(kept[int(word[1:])]) if word.startswith("@") else word for word in told["words"]]
    sys.argv = [told["module"], *words, str(parent)]
    set_title([sys.executable, "-m", *sys.argv])
    importlib.import_module(told["module"]).main()


def main() -> None:
    """Load the modules and serve; in a child, run what was asked for."""
    fd, parent, modules = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
    die_with_parent(signal.SIGTERM, parent)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    me = os.getpid()
    set_title([sys.executable, "-m", "responder.fork_server", *modules])
    gc.disable()  # a collection leaves holes in shared pages, which children would fill and so copy
    for name in modules:
        importlib.import_module(name)
    gc.freeze()
    line = Children(socket.socket(fileno=fd)).serve()
    if line is not None:
        gc.enable()
        run_order(line, me)


def command_line(fd: int, modules: list[str]) -> list[str]:
    """Return the words that start this program with its end of the requests, as a child of this process."""
    words = [sys.executable, "-m", "responder.fork_server", str(fd), str(os.getpid()), ",".join(modules)]
    return [*words, "." * ROOM]


def own_environment() -> dict[str, str]:
    """Return what of our environment a child may see: no settings, and not where a service manager put credentials."""
    withheld = ("CREDENTIALS_DIRECTORY", PREFIX)
    return {name: value for name, value in os.environ.items() if not name.startswith(withheld)}


if __name__ == "__main__":
    main()
