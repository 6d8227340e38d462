"""A process never outlives the one that started it, not even one that ended before it could ask."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from responder.forks import ForkServer

ARM = """
import os, signal
from responder.parent import die_with_parent
die_with_parent(signal.SIGTERM, {parent})
print("armed")
"""


def run(parent: str) -> subprocess.CompletedProcess[str]:
    """A child that arms itself."""
    program = ARM.format(parent=parent)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_a_child_whose_parent_is_there_is_armed() -> None:
    """The usual case."""
    assert run("os.getppid()").stdout == "armed\n"


def test_a_child_that_came_too_late_leaves_at_once() -> None:
    """Its parent was killed before the signal was armed: it has another parent now."""
    done = run("os.getppid() + 1")
    assert done.returncode == 1
    assert "the parent is gone" in done.stderr
    assert done.stdout == ""


PREPARED = """
import os, signal, structlog
from responder.config import EdgeSettings
from responder.process import set_up_process
set_up_process(EdgeSettings(log_format="json"), "test")
log = structlog.get_logger("test")
"""


def test_a_prepared_process_survives_sighup() -> None:
    """SIGHUP ends a process by default; ours ignore it."""
    code = PREPARED + 'os.kill(os.getpid(), signal.SIGHUP)\nprint("alive")'
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_log_lines_that_cannot_be_written_raise_nothing_and_are_counted(tmp_path: Path) -> None:
    """Standard error is /dev/full (ENOSPC) at first, and a file with space afterwards."""
    later = tmp_path / "log"
    code = (
        PREPARED
        + f"""
log.info("first")
log.error("second")
os.dup2(os.open({str(later)!r}, os.O_WRONLY | os.O_CREAT), 2)
log.info("third")
log.info("fourth")
"""
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stderr=full, check=False)
    events = [json.loads(line) for line in later.read_text().splitlines()]
    assert done.returncode == 0
    assert [line["event"] for line in events] == ["log lines lost", "third", "fourth"]
    assert events[0]["count"] == 2


async def test_a_child_does_not_find_its_parents_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has the settings that it is given; neither files of secrets nor credentials of the service manager."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("FASTOCSP_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    shown = tmp_path / "shown"
    (tmp_path / "shows_environment.py").write_text(
        f"import json, os, pathlib\ndef main(): pathlib.Path({str(shown)!r}).write_text(json.dumps(dict(os.environ)))"
    )
    server = ForkServer.start(["shows_environment"])
    child = await server.start_module("shows_environment", [], {"FASTOCSP_PORT": "1"})
    assert await child.wait() == 0
    server.end()
    names = set(json.loads(shown.read_text()))
    assert "FASTOCSP_PORT" in names
    assert names & {"CREDENTIALS_DIRECTORY", "FASTOCSP_DATABASE_URL_FILE"} == set()
