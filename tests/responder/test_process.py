"""A process never outlives the one that started it, not even one that ended before it could ask."""

import subprocess
import sys

ARM = """
import os, signal
from responder.process import die_with_parent
die_with_parent(signal.SIGTERM, {parent})
print("armed")
"""


def run(parent: str) -> subprocess.CompletedProcess[str]:
    """A child that arms itself."""
    program = ARM.format(parent=parent)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_a_child_whose_parent_is_there_is_armed() -> None:
    """The usual case."""
    assert run("os.getppid()").stdout == "armed\n"


def test_a_child_that_came_too_late_leaves_at_once() -> None:
    """Its parent was killed before the signal was armed: it has another parent now."""
    done = run("os.getppid() + 1")
    assert done.returncode == 1
    assert "the parent is gone" in done.stderr
    assert done.stdout == ""
