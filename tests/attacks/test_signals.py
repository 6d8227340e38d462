"""Signals: a hangup ends no process, and a stop ends all of them at every moment of the start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.breakage import certificates, eventually, revoke
from tests.support.instance import Instance, free_port

NAMES = ("supervisor", "fork_server", "edge", "edge_master", "ca_signer", "signer", "warmer", "admin")


def pids(instance: Instance) -> list[int]:
    """Return the numbers of our own processes, workers included."""
    found = instance.facts["pids"]
    return [pid for name in NAMES for pid in (found[name] if isinstance(found[name], list) else [found[name]])]


def test_sighup_ends_no_process(instance: Instance) -> None:
    """Every process of the instance gets SIGHUP, and the same processes answer afterwards."""
    log = instance.folder / "logs" / "edge.log"
    eventually(lambda: log.read_text().count('"serving"') >= 2, 30, "a worker is still starting")
    before = pids(instance)
    assert all(before)
    for pid in before:
        os.kill(pid, signal.SIGHUP)
    assert revoke(instance, certificates(instance)[-1])["result"] == "CONFIRMED"
    assert pids(instance) == before
    assert all(psutil.pid_exists(pid) for pid in before)


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "Postgres is starting": lambda folder: (folder / "postgres.log").exists(),
    "the schema is being made": lambda folder: (folder / "valkey.log").exists(),
    "the programs are starting": lambda folder: (folder / "logs" / "edge.log").exists(),
    "it is ready": lambda folder: (folder / "quickstart.json").exists(),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_during_the_start_ends_everything(own_folder: Path, moment: str, number: signal.Signals) -> None:
    """The quickstart leaves with status 0 and takes its servers and programs with it."""
    data = own_folder / "data"
    words = ["quickstart", "--data-dir", str(data), "--port", str(free_port()), "--admin-port", str(free_port())]
    command = [sys.executable, "-m", "cachewarm.cli.main", *words, "--certificates", "20", "--revoked", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/") as process:
        eventually(lambda: MOMENTS[moment](data) or process.poll() is not None, 60, moment)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(60) == 0
    deadline = time.monotonic() + 20
    _, alive = psutil.wait_procs(children, timeout=max(0, deadline - time.monotonic()))
    assert not alive
    assert not (data / "quickstart.json").exists()
