"""Hide the memory of a process that holds keys. A signing process loads this, but no settings and no logs."""

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def leave_no_core() -> None:
    """Write no core dump if this process crashes, and let no child write one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def hide_memory() -> None:
    """Let no other process of this account read this one's memory or environment, and leave no core."""
    leave_no_core()
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
