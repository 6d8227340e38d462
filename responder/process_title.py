"""Have `ps` show of a forked process the words that a started one would have."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

#: Bytes that a process must have in its arguments to take another title: longer ones are cut.
ROOM = 400


def set_title(words: Sequence[str]) -> None:
    """Overwrite this process's command line (/proc/PID/cmdline), within the room that its own has."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end; proc(5) counts from 1, and two are gone
    line = b"\0".join(word.encode(errors="surrogateescape") for word in words)[: end - begin - 1]
    ctypes.memmove(begin, line.ljust(end - begin, b"\0"), end - begin)
