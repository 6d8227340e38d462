"""Folders for servers and instances, and a Postgres cluster to start from."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Where Linux has a file system in memory, and the bytes that must be free there.
_SHM, _ROOM = Path("/dev/shm"), 4 << 30
_MAKE_CLUSTER = """
import asyncio, pathlib, sys
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import provision
server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
server.start()
asyncio.run(provision(server))
server.stop()
"""


def scratch(prefix: str = "fastocsp-e2e-", mode: int = 0o755) -> Path:
    """Make a folder that the account of Postgres can reach, in memory where there is room.

    No test cuts the power, so none needs a disk: what a killed process has written is in the file system either way.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_memory()))
    folder.chmod(mode)
    return folder


@functools.cache
def _memory() -> Path | None:
    """Return a file system in memory that is large enough for all servers of a test run, or None."""
    with suppress(OSError):
        if os.access(_SHM, os.W_OK) and shutil.disk_usage(_SHM).free >= _ROOM:
            return _SHM
    return None


def copy_cluster(data_dir: Path) -> None:
    """Put a migrated Postgres cluster into an instance's folder that has none: the instance starts as after a stop.

    A second of CPU per instance, initdb and the migrations, is spent once per test process.
    """
    if not (data_dir / "postgres.passwords").exists() and (_cluster() / "postgres" / "cluster").exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", f"{_cluster()}/.", data_dir], check=True)


@functools.cache
def _cluster() -> Path:
    """Make the data folder that is copied."""
    folder = scratch()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "data").mkdir(mode=0o755)
    environ = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _MAKE_CLUSTER, folder / "data"], env=environ, check=True)
    return folder / "data"
