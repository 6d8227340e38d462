"""What figures are worth without: the machine and the commit; and CPU time by process and by thread."""

import os
import platform
import subprocess
from pathlib import Path


def stamp() -> dict[str, object]:
    """For the JSON of a bench."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    return {"commit": commit.strip(), "machine": machine}


def cpu_s(pid: int) -> float:
    """Seconds on a core of that process so far, all threads."""
    return sum(_thread_s(path) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def main_thread_s(pid: int) -> float:
    """The same of its first thread: in a worker the one that runs Python, while another has the connections."""
    return _thread_s(Path(f"/proc/{pid}/task/{pid}/schedstat"))


def _thread_s(schedstat: Path) -> float:
    return int(schedstat.read_text().split()[0]) / 1e9


def pin(pid: int, core: int) -> None:
    """Every thread of that process on that core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
