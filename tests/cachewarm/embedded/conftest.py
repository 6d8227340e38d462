"""Folders of several kinds, and a way to run a piece of our code as another account."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import scratch

ROOT = Path(__file__).parents[3]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change accounts")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A short folder that other accounts may walk into."""
    folder = scratch("fastocsp-test-", 0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def plain_folder(open_folder: Path) -> Path:
    """A folder that `nobody` owns when we are root, else our own."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(open_folder, nobody.pw_uid, nobody.pw_gid)
    return open_folder


# The interpreter may be out of another account's reach: everything is imported first, then the rights are dropped.
BECOME = """
import asyncio, os, pathlib, sys
import asyncpg, cachewarm.embedded.postgres, cachewarm.embedded.provision, cachewarm.embedded.valkey
if {uid} is not None:
    os.setgroups([])
    os.setgid({uid})
    os.setuid({uid})
"""


def python(code: str, *, uid: int | None = None) -> "subprocess.Popen[str]":
    """That code in a process of its own, as that account."""
    return subprocess.Popen(
        [sys.executable, "-c", BECOME.format(uid=uid) + code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(code: str, *, uid: int | None = None) -> str:
    """What the code printed, or how it failed."""
    with python(code, uid=uid) as process:
        out, err = process.communicate(timeout=60)
    return out if process.returncode == 0 else err


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Until it holds, or the test fails."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Does that process exist, and is it more than a zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_line(pid: int | None) -> str:
    """What everybody can see of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def kill_hard(process: "subprocess.Popen[str]") -> None:
    """Kill -9, and collect it."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
