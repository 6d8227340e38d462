"""Rows of `make bench-scale` about memory: what the Python processes of an idle quickstart use, and a further worker.

The proportional set size (smaps_rollup) is summed, so that memory which processes share counts once. Commands read
compiled modules, as an installed package has them.
"""

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from bench.scale_rows import Row
from tests.support.instance import Instance

SETTLED_S = 15.0
PSS_GOAL_MB, WORKER_GOAL_MB = 150.0, 12.0


def compiled(folder: Path) -> dict[str, str]:
    """Return the variables with which modules are compiled once, into that folder, whatever the caller's are."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "pycache")}


def footprint(certificates: int = 60) -> list[Row]:
    """Measure an idle quickstart with one worker, then with three."""
    folder = Path(tempfile.mkdtemp(prefix="fastocsp-scale-"))
    folder.chmod(0o755)
    try:
        sizes = [_pss_mb(folder, workers, certificates) for workers in (1, 1, 3)][1:]  # the first one compiles
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    (one, parts), (three, _) = sizes
    further = (three - one) / 2
    return [
        Row(
            "PSS of the Python processes of an idle quickstart, one worker",
            f"<= {PSS_GOAL_MB:g} MB",
            f"{one:.0f} MB ({parts})",
            one <= PSS_GOAL_MB,
        ),
        Row("PSS of each further worker", f"<= {WORKER_GOAL_MB:g} MB", f"{further:.1f} MB", further <= WORKER_GOAL_MB),
    ]


def _pss_mb(folder: Path, workers: int, certificates: int) -> tuple[float, str]:
    """Return the sum in MB, and each process's part as text."""
    data = folder / f"data-{workers}-{time.monotonic_ns()}"
    instance = Instance(data, workers, certificates, 1, **compiled(folder)).start()
    try:
        time.sleep(SETTLED_S)
        supervisor = psutil.Process(instance.facts["pids"]["supervisor"])
        parts = [
            (_role(line), pss / 1024)
            for process in (supervisor, *supervisor.children(recursive=True))
            if "cachewarm." in (line := " ".join(process.cmdline())) or "responder." in line
            if (pss := _pss_kb(process.pid)) is not None
        ]
    finally:
        instance.stop()
    return sum(size for _, size in parts), ", ".join(f"{name} {size:.0f}" for name, size in parts)


def _pss_kb(pid: int) -> int | None:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return None


def _role(line: str) -> str:
    words = (
        "fork_server",
        "child ca_signer",
        "child signer",
        "child warmer",
        "child edge",
        "child admin",
        "worker.worker",
        "quickstart",
    )
    return next((word.split(" ")[-1] for word in words if word in line), line)


def measure(small: bool) -> list[Row]:
    """Measure all rows about memory, whatever the size."""
    del small
    return footprint()
