"""Processes that end with the one that started them: a signing process loads this, but no settings and no logs."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(sig: signal.Signals, parent: int) -> None:
    """Have the kernel send `sig` when the thread that started this process ends; leave at once if it has.

    `parent` is the number of the process that started us, told by itself: one that ended before this line would leave
    us with another parent, and no signal would come.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, sig, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent is gone")
