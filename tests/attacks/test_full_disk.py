"""A full data disk: edges answer throughout, nothing ends for good, and everything heals when there is space again."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.breakage import GOOD, REVOKED, ask, certificates, eventually, pid_of, ready, revoke
from tests.support.fixtures import scratch
from tests.support.instance import Instance

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder on a file system of 320 MiB, enough for an instance."""
    folder = scratch()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m,mode=755", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("no right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    shutil.rmtree(folder, ignore_errors=True)


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    with contextlib.suppress(OSError), path.with_suffix(".rest").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def fill_logs(instance: Instance) -> None:
    """Use up the rest of the last page of every log, so that the next line fails."""
    for path in (*instance.folder.glob("logs/*.log"), *instance.folder.glob("*.log"), instance.output):
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 63 + b"\n")


def answers(instance: Instance, path: str) -> object:
    """Return what the edge answers, or None while it cannot be reached."""
    with contextlib.suppress(OSError):
        return ask(instance, path).says
    return None


def kill(instance: Instance, name: str) -> None:
    """End a process in a way that makes its parent log a line."""
    os.kill(pid_of(instance, name), signal.SIGKILL)


def test_a_full_data_disk_heals_by_itself(small_disk: Path) -> None:
    """Answers go on while the disk is full; revocations fail or wait, and work again after space returned."""
    instance = Instance(small_disk / "data", certificates=20, revoked=1, FASTOCSP_LOG_FORMAT="json").start()
    try:
        first, second = certificates(instance)[:2]
        known, revoked = instance.facts["good_cert"], instance.facts["revoked_cert"]
        assert ask(instance, known).says is GOOD
        supervisor = instance.facts["pids"]["supervisor"]
        fill(small_disk / "filler")
        fill_logs(instance)
        kill(instance, "edge")
        kill(instance, "warmer")
        with contextlib.suppress(AssertionError):
            revoke(instance, first, "--patience", "5s")
        eventually(lambda: answers(instance, known) is GOOD, 20, "the edge does not come back on a full disk")
        for _ in range(20):
            assert ask(instance, known).says is GOOD
            assert ask(instance, revoked).says is REVOKED
        (small_disk / "filler").unlink()
        (small_disk / "filler.rest").unlink()

        def confirms() -> bool:
            done = instance.command("revoke", "--cert", str(second), "--wait", check=False)
            return done.returncode == 0 and "CONFIRMED" in done.stdout

        eventually(confirms, 60, "no revocation is confirmed after space returned", pause_s=0.5)
        eventually(lambda: ready(instance)[0] == 200, 30, "not ready after space returned")
        assert ask(instance, second).says is REVOKED
        assert instance.facts["pids"]["supervisor"] == supervisor
    finally:
        instance.stop()
