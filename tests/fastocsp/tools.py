"""Other people's programs, asked for an opinion."""

import os
import subprocess
from pathlib import Path


def ask(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run the command there; it must succeed within 20 seconds.

    A sanitizer preloaded into this process is not handed on: it is our code that it shall watch, and ocsptool hangs
    under it.
    """
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=20)
