"""A confined process tries from inside what it may not do; with the sandbox off the same attempts succeed."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from responder import landlock, seccomp
from responder.landlock import Allowed
from responder.links import postgres_ports, redis_ports
from responder.path_watch import PathWatch
from responder.sandbox import check, confine, files_of, postgres_files, with_dns
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
    """`require` ends the process, and commands say what is missing before one is started; `auto` goes on, not `on`."""
    monkeypatch.setattr("responder.sandbox.leave_no_core", lambda: None)
    monkeypatch.setattr("responder.seccomp.refuse_calls", lambda: None)
    monkeypatch.setattr(landlock, "restrict", lambda _: landlock.available())
    for version, state, lacking in (
        (0, "partial", "this kernel has no Landlock"),
        (3, "partial", "Landlock of version 3 restricts neither TCP ports nor signals"),
        (4, "partial", "Landlock of version 4 does not restrict signals"),
        (6, "on", ""),
    ):
        monkeypatch.setattr(landlock, "available", lambda version=version: version)
        made = confine("auto", Allowed())
        assert (made.state, made.missing, made.landlock) == (state, lacking, version)
        if lacking:
            with pytest.raises(SystemExit):
                confine("require", Allowed())
            with pytest.raises(ConfigError, match=f"FASTOCSP_SANDBOX=require, but {lacking}"):
                check("require")
        check("auto")


def test_ports_and_files_of_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the URL as its driver reads it, several servers too; of its query, and of what libpq's variables name."""
    assert [redis_ports(url) for url in ("redis://h", "rediss://h:7000/0", "unix:///tmp/s")] == [[6379], [7000], []]
    several = "postgresql://u:p@a:5431,b:5433/db"
    assert [postgres_ports(url) for url in ("postgresql://h/db", several)] == [[5432], [5431, 5433]]
    assert postgres_ports("postgresql:///db?host=/run&port=5433") == []
    assert with_dns([7000]) == [7000, 53]
    assert with_dns([]) == []
    assert files_of("rediss://h?ssl_ca_certs=/etc/ca.pem&timeout=3") == [Path("/etc/ca.pem")]
    monkeypatch.setenv("PGPASSFILE", "/run/secrets/pgpass")
    assert Path("/run/secrets/pgpass") in postgres_files()


def test_what_is_put_in_the_place_of_a_path_is_noticed(tmp_path: Path) -> None:
    """A file renamed over it, a folder made later, a link that leads elsewhere; not new content or a file that goes."""
    kept, gone, link, later = (tmp_path / name for name in ("kept", "gone", "link", "later"))
    for path in (kept, gone, tmp_path / "one", tmp_path / "two"):
        path.write_text("x")
    link.symlink_to("one")
    watch = PathWatch([kept, gone, link, later])
    kept.write_text("y")
    gone.unlink()
    assert watch.replaced() is None
    link.unlink()
    link.symlink_to("two")
    assert watch.replaced() == link
    watch = PathWatch([kept, later])
    (tmp_path / "new").write_text("z")
    (tmp_path / "new").rename(kept)
    assert watch.replaced() == kept
    watch = PathWatch([later])
    later.mkdir()
    assert watch.replaced() == later


_REPLACED = """
import sys
from pathlib import Path
from responder.landlock import Allowed
from responder.sandbox import confine

path = Path(sys.argv[1])
made = confine("require", Allowed(reads=[path]))
path.read_text()
print("ready", flush=True)
sys.stdin.readline()
try:
    path.read_text()
except PermissionError:
    print(made.watch.replaced())
"""


@needs_landlock
def test_a_confined_process_cannot_read_what_was_replaced_and_knows(tmp_path: Path) -> None:
    """Why it is watched: Landlock's rule is about the file that was there."""
    path, new = tmp_path / "ca.pem", tmp_path / "new"
    path.write_text("old")
    words = [sys.executable, "-c", _REPLACED, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        while running.stdout.readline() != "ready\n":
            assert running.poll() is None
        new.write_text("new")
        new.rename(path)
        assert running.communicate("go\n")[0] == f"{path}\n"


def test_numbers_of_calls_are_the_kernel_s() -> None:
    """As its headers have them, for both machines."""
    headers = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h"))
    if not all(header.exists() for header in headers):
        pytest.skip("no headers of the kernel here")
    known = [dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())) for header in headers]
    refused = seccomp._REFUSED
    assert [
        name
        for name, numbers in refused.items()
        for theirs, ours in zip(known, numbers, strict=True)
        if theirs.get(name) != (None if ours is None else str(ours))
    ] == []


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
