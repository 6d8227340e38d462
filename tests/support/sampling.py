"""Seeds of what is sampled: another sample per commit, the same one wherever that commit is tested."""

import functools
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def commit_seed() -> int:
    """Return FASTOCSP_SEED, else a number made from the commit, else 0 where there is no repository."""
    if text := os.environ.get("FASTOCSP_SEED"):
        return int(text)
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(done.stdout[:8], 16)
