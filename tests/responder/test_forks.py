"""Processes forked from one that has loaded their modules: what they see, how they end, what they do not see."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from responder.forks import ForkedProcess, ForkFailed, ForkServer
from tests.support.instance import ROOT

#: What the forked processes run: a module of the test's own, found by PYTHONPATH.
SUBJECT = """
import json, os, pathlib, signal, sys, time
def main():
    what, *words = sys.argv[1:]
    if what == "show":
        told = {"argv": sys.argv, "environ": dict(os.environ), "pid": os.getpid(), "cwd": os.getcwd()}
        os.write(int(words[0]), json.dumps(told).encode())
    elif what == "exit":
        sys.exit(int(words[0]))
    elif what == "raise":
        raise RuntimeError("on purpose")
    elif what == "sleep":
        print("asleep", flush=True)
        time.sleep(600)
"""
END_S = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A fork server that has loaded SUBJECT."""
    folder = tmp_path_factory.mktemp("forks")
    (folder / "fork_subject.py").write_text(SUBJECT)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}:{ROOT}"}
    running = ForkServer.start(["fork_subject"], environ)
    yield running
    running.end()


def show(server: ForkServer, environ: dict[str, str]) -> dict[str, object]:
    """Return what a forked process says about itself."""
    read, write = os.pipe()
    process = server.fork("fork_subject", ["show", "@0"], environ, pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as file:
        told: dict[str, object] = json.load(file)
    assert process.wait_for(END_S) == 0
    assert told["pid"] == process.pid
    return told


def start_sleeper(server: ForkServer, tmp_path: Path) -> ForkedProcess:
    """Return a process that runs its own code already."""
    log = tmp_path / "sleeper.log"
    with log.open("wb") as output:
        process = server.fork("fork_subject", ["sleep"], {}, output=output.fileno())
    until(lambda: log.read_bytes() == b"asleep\n")
    return process


def until(done: object, within_s: float = END_S) -> None:
    """Wait until the callable returns something true."""
    deadline = time.monotonic() + within_s
    assert callable(done)
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_forked_process_has_its_own_words_folder_and_environment(server: ForkServer, tmp_path: Path) -> None:
    """Settings of one child are not seen by the next one, nor those of the process that asks."""
    here = Path.cwd()
    os.environ["FASTOCSP_HORIZON"] = "of the one that asks"
    os.chdir(tmp_path)
    try:
        first = show(server, {"FASTOCSP_DATABASE_URL": "postgresql://secret"})
    finally:
        os.chdir(here)
        del os.environ["FASTOCSP_HORIZON"]
    second = show(server, {"FASTOCSP_PORT": "1"})
    assert first["cwd"] == str(tmp_path)
    settings = [
        {name for name in told["environ"] if name.startswith("FASTOCSP_")}  # type: ignore[attr-defined]
        for told in (first, second)
    ]
    assert settings == [{"FASTOCSP_DATABASE_URL"}, {"FASTOCSP_PORT"}]


def test_settings_never_pass_through_the_fork_server(server: ForkServer) -> None:
    """A secret of one child is found nowhere in the memory that later children share."""
    secret = "marker-" + os.urandom(16).hex()
    show(server, {"FASTOCSP_DATABASE_URL": secret})
    assert server.pid is not None
    assert secret.encode() not in memory_of(server.pid)
    with pytest.raises(AssertionError):  # the search can fail
        assert b"responder.fork_server" not in memory_of(server.pid)


def memory_of(pid: int) -> bytes:
    """Return the writable memory of a process that is ours."""
    found = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("rw"):
                begin, end = (int(part, 16) for part in span.split("-"))
                memory.seek(begin)
                found += memory.read(end - begin)
    return bytes(found)


def test_ps_shows_the_words_of_the_forked_process(server: ForkServer, tmp_path: Path) -> None:
    """As if it had been started: interpreter, module, words, and the parent's number."""
    process = start_sleeper(server, tmp_path)
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert shown == [sys.executable.encode(), b"-m", b"fork_subject", b"sleep", str(server.pid).encode()]
    process.kill()
    assert process.wait_for(END_S) == -signal.SIGKILL


@pytest.mark.parametrize(("words", "status"), [(["exit", "0"], 0), (["exit", "3"], 3), (["raise"], 1)], ids=str)
async def test_the_exit_status_is_that_of_the_process(server: ForkServer, words: list[str], status: int) -> None:
    """For any number of tasks that wait, and again for those who ask later."""
    process = await server.start_module("fork_subject", words, {})
    assert list(await asyncio.gather(process.wait(), process.wait())) == [status, status]
    assert (process.poll(), await process.wait()) == (status, status)
    process.kill()  # nothing happens: the number may be another process's by now


def test_a_process_ends_with_the_one_that_asked_for_it(server: ForkServer, tmp_path: Path) -> None:
    """Kill -9 of the one that asked: its processes get SIGTERM, others go on."""
    other = start_sleeper(server, tmp_path)
    program = f"""
import os, time
from responder.forks import ForkServer
process = ForkServer.at({server.requests.fileno()}).fork("fork_subject", ["sleep"], {{}}, output=2)
print(process.pid, flush=True)
time.sleep(600)
"""
    asking = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[server.requests.fileno()],
    )
    assert asking.stdout is not None
    child = psutil.Process(int(asking.stdout.readline()))
    assert child.is_running()
    asking.kill()
    asking.wait()
    asking.stdout.close()
    until(lambda: not child.is_running())
    assert other.poll() is None
    other.terminate()
    assert other.wait_for(END_S) == -signal.SIGTERM


def test_every_process_ends_with_the_fork_server(tmp_path: Path) -> None:
    """Kill -9 of it: no child is left, its status is reported, and another one cannot be asked for."""
    (tmp_path / "fork_subject.py").write_text(SUBJECT)
    doomed = ForkServer.start(["fork_subject"], {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{ROOT}"})
    child = start_sleeper(doomed, tmp_path)
    assert doomed.pid is not None
    os.kill(doomed.pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(child.pid) or psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert child.wait_for(END_S) == -signal.SIGTERM
    until(lambda: not doomed.is_running)
    with pytest.raises(ForkFailed):
        doomed.fork("fork_subject", ["exit", "0"], {})
    doomed.end()


def test_preloading_prints_nothing() -> None:
    """An operator sees what it prints at each start of an edge: a warning there looks like a fault."""
    command = [sys.executable, "-W", "always::RuntimeWarning", "-c", "import responder.preload"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=END_S, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
