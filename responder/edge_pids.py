"""The file in which the master of an edge host lists its processes."""

import json
from pathlib import Path

PIDS_NAME = "edge.json"


def pids(run: Path) -> dict[str, object]:
    """Return `master` and `workers` as the file in this run folder has them; empty when no master runs."""
    try:
        written: dict[str, object] = json.loads((run / PIDS_NAME).read_text())
    except (OSError, ValueError):
        return {}
    return written
