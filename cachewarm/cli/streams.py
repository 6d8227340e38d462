"""Standard streams of a command that are closed, full, or read by a program that has ended."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def open_standard_streams() -> None:
    """Open /dev/null for each of the descriptors 0 to 2 that is closed: a socket must not become standard output."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            setattr(sys, name, os.fdopen(fd, mode, closefd=False))


@contextmanager
def written_out() -> Iterator[None]:
    """Write standard output to its end; exit with 1 when that fails, silently if its reader has gone (`| head`)."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        if error.errno != errno.EPIPE:
            with suppress(OSError):
                print(f"fastocsp: standard output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
