"""Memory: a process that parses and encodes for long does not grow."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_two_hundred_thousand_rounds_do_not_grow_the_process() -> None:
    """Good and bad bytes through every codec, in a process of its own: less than a MiB."""
    command = [sys.executable, "-m", "tests.fastocsp.leak", "200000"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 1024, f"grew by {ran.stdout} KiB"
