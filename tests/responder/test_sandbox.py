"""What a confined process can still do, tried from inside; with the sandbox off the same attempts succeed."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from responder import landlock
from responder.landlock import Allowed
from responder.sandbox import confine, files_of, ports_of, postgres_files
from responder.seccomp import program
from responder.setting_fields import ConfigError

#: Attempts of a captured worker. Arguments: mode, data folder, a listener's port, a process of the same account.
_ATTEMPTS = """
import ctypes, json, os, signal, socket, subprocess, sys, threading
from pathlib import Path
from responder.config import EdgeSettings
from responder.worker.confinement import confine_worker

mode, folder, port, victim = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
settings = EdgeSettings(data_dir=folder, redis_url="unix:///nowhere.sock", metrics_listen="", sandbox=mode)
confine_worker(settings)
libc = ctypes.CDLL(None, use_errno=True)

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

def trace():
    checked(libc.ptrace(16, victim, None, None))
    os.waitpid(victim, 0x40000000)
    checked(libc.ptrace(17, victim, None, None))

def bind():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

forbidden = {
    "read a CA key": lambda: (folder / "ca-keys" / "ca.key").read_bytes(),
    "read the settings of the instance": lambda: (folder / "quickstart.json").read_bytes(),
    "list the data folder": lambda: os.listdir(folder),
    "write where edges keep their state": lambda: (folder / "edge" / "planted").write_bytes(b""),
    "write into the run folder": lambda: (folder / "run" / "planted").write_bytes(b""),
    "remove an image": lambda: (folder / "run" / "victim").unlink(),
    "read another process's environment": lambda: Path(f"/proc/{victim}/environ").read_bytes(),
    "start a program": lambda: subprocess.run(["true"], check=True),
    "make a process": fork,
    "connect to the ledger": lambda: socket.create_connection(("127.0.0.1", port), 5).close(),
    "listen": bind,
    "trace a process": trace,
    "send a signal": lambda: os.kill(victim, 0),
    "set up io_uring": lambda: checked(libc.syscall(425, 1, bytes(120))),
}
needed = {
    "read the run folder": lambda: (folder / "run" / "page").read_bytes(),
    "read the edge's state": lambda: (folder / "edge" / "catalog.json").read_bytes(),
    "start a thread": lambda: threading.Thread(target=len, args=("",)).start(),
    "import a module": lambda: __import__("wave"),
    "resolve a name": lambda: socket.getaddrinfo("localhost", 80),
    "make a socket pair": lambda: [each.close() for each in socket.socketpair()],
    "count its descriptors": lambda: os.listdir("/proc/self/fd"),
}

def succeeds(attempt):
    try:
        attempt()
    except (OSError, ValueError):
        return False
    return True

print(json.dumps([{name: succeeds(attempt) for name, attempt in each.items()} for each in (forbidden, needed)]))
"""
needs_landlock = pytest.mark.skipif(landlock.available() < 6, reason="this kernel cannot do all of it")


@pytest.fixture
def victim() -> Iterator[int]:
    """A process of the same account."""
    with subprocess.Popen(["sleep", "600"]) as sleeping:
        yield sleeping.pid
        sleeping.kill()


def tried(mode: str, folder: Path, victim: int) -> tuple[dict[str, bool], dict[str, bool]]:
    """Which of the forbidden and of the needed attempts succeed, in a process of its own."""
    for name in ("ca-keys", "edge", "run"):
        (folder / name).mkdir(exist_ok=True)
    for name in ("ca-keys/ca.key", "edge/catalog.json", "run/page", "run/victim", "quickstart.json"):
        (folder / name).write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as ledger:
        words = [sys.executable, "-c", _ATTEMPTS, mode, str(folder), str(ledger.getsockname()[1]), str(victim)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    forbidden, needed = json.loads(done.stdout.splitlines()[-1])
    return forbidden, needed


@needs_landlock
def test_a_captured_worker_can_do_nothing_but_its_work(tmp_path: Path, victim: int) -> None:
    """Every forbidden attempt fails, everything that a worker needs goes on."""
    forbidden, needed = tried("require", tmp_path, victim)
    assert not [name for name, done in forbidden.items() if done]
    assert not [name for name, done in needed.items() if not done]


@pytest.mark.skipif(os.getuid() != 0, reason="another process may only be traced by root on some machines")
def test_without_the_sandbox_the_same_attempts_succeed(tmp_path: Path, victim: int) -> None:
    """So the test above can fail. Whether io_uring may be used is the machine's matter."""
    forbidden, needed = tried("off", tmp_path, victim)
    assert not [name for name, done in (forbidden | needed).items() if not done and "io_uring" not in name]


def test_a_kernel_that_cannot_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`require` ends the process with what is missing, `auto` goes on and shows it."""
    monkeypatch.setattr(landlock, "available", lambda: 0)
    monkeypatch.setattr("responder.sandbox.leave_no_core", lambda: None)
    with pytest.raises(ConfigError, match="FASTOCSP_SANDBOX=require, but Landlock: this kernel has no Landlock"):
        confine("require", Allowed())
    made = confine("auto", Allowed())
    assert (made.state, made.missing) == ("off", "Landlock: this kernel has no Landlock")


def test_ports_and_files_of_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the URL, its query, or what libpq's variables name; no ports for Unix sockets."""
    monkeypatch.setenv("PGPASSFILE", "/run/secrets/pgpass")
    assert Path("/run/secrets/pgpass") in postgres_files()
    assert ports_of("redis://h", "rediss://h:7000/0", "unix:///tmp/s", None, "postgresql://h/db") == [6379, 7000, 5432]
    assert ports_of("postgresql:///db?host=/run&port=5433") == [5433]
    assert files_of("rediss://h?ssl_ca_certs=/etc/ca.pem&timeout=3") == [Path("/etc/ca.pem")]


def verdict(machine: str, arch: int, number: int, argument: int = 0) -> int:
    """What the filter returns for a call: a classic BPF machine of the five instructions that it uses."""
    steps, at, loaded = program(machine), 0, 0
    words = {0: number, 4: arch, 16: argument}
    while True:
        code, if_true, if_false, k = steps[at]
        at += 1
        if code == 0x06:
            return k
        if code == 0x20:
            loaded = words[k]
        else:
            holds = {0x15: loaded == k, 0x45: bool(loaded & k), 0x35: loaded >= k}[code]
            at += if_true if holds else if_false


ALLOW, KILL, EPERM, ENOSYS, EAFNOSUPPORT = 0x7FFF0000, 0x80000000, 0x50001, 0x50026, 0x50061


@pytest.mark.parametrize(
    ("machine", "arch", "calls"),
    [
        ("x86_64", 0xC000003E, {"read": 0, "execve": 59, "ptrace": 101, "clone": 56, "clone3": 435, "socket": 41}),
        ("aarch64", 0xC00000B7, {"read": 63, "execve": 221, "ptrace": 117, "clone": 220, "clone3": 435, "socket": 198}),
    ],
)
def test_the_filter_of_each_machine(machine: str, arch: int, calls: dict[str, int]) -> None:
    """Threads yes, processes no; sockets of four families; nothing of another machine's calls."""
    assert verdict(machine, arch, calls["read"]) == ALLOW
    assert verdict(machine, arch, calls["execve"]) == verdict(machine, arch, calls["ptrace"]) == EPERM
    assert verdict(machine, arch, calls["clone3"]) == ENOSYS
    assert verdict(machine, arch, calls["clone"], 0x3D0F00) == ALLOW
    assert verdict(machine, arch, calls["clone"], 0x1200011) == EPERM
    assert [verdict(machine, arch, calls["socket"], family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
    assert verdict(machine, arch, calls["socket"], 17) == EAFNOSUPPORT
    assert verdict(machine, 0x40000003, calls["read"]) == KILL
    if machine == "x86_64":
        assert verdict(machine, arch, 0x40000000 | calls["read"]) == EPERM
