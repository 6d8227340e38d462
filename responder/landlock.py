"""Landlock: a thread gives up files, ports and signals that it does not need, for good. Linux's userspace-api/landlock.

It needs no privilege. A rule is about a file, not about its name: what is put in its place later is not allowed, unless
it lies in a folder that is (responder/path_watch.py). What is restricted is this thread and every thread and process
that it starts later, so it is done before threads start. A kernel with an older version restricts less (`lacks`).
"""

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 9
_REFER, _TRUNCATE = 1 << 13, 1 << 14
#: Every right of the first version, then what later versions added: moving between folders, truncating, ioctl.
_ALL_OF_VERSION = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: 1 << 15}
READ = READ_FILE | READ_DIR
LOAD = READ | EXECUTE
WRITE = READ | WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _REFER | _TRUNCATE
#: Rights that a file can have; a folder has all.
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | 1 << 15
_BIND_TCP, _CONNECT_TCP = 1, 2
_NET_FROM, _SCOPES_FROM = 4, 6
_ABSTRACT_SOCKETS_AND_SIGNALS = 3


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class _PortRule(ctypes.Structure):
    _fields_ = [("access", ctypes.c_uint64), ("port", ctypes.c_uint64)]


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Paths that a process reads, loads code from or writes below, and the TCP ports that it uses.

    Paths that do not exist are left out: what is made there later cannot be opened.
    """

    reads: Iterable[Path] = ()
    loads: Iterable[Path] = ()
    writes: Iterable[Path] = ()
    connects: Iterable[int] = ()
    binds: Iterable[int] = ()


def available() -> int:
    """Return the version that the kernel has, 0 for none."""
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def lacks() -> str:
    """Return what this kernel does not restrict, empty when it restricts all of it."""
    version = available()
    if version == 0:
        return "this kernel has no Landlock"
    if version < _NET_FROM:
        return f"Landlock of version {version} restricts neither TCP ports nor signals"
    return f"Landlock of version {version} does not restrict signals" if version < _SCOPES_FROM else ""


def restrict(allowed: Allowed) -> int:
    """Allow this thread nothing else from here on; return the version of Landlock. OSError when the kernel refuses."""
    version = available()
    if version == 0:
        raise OSError(0, "this kernel has no Landlock")
    handled = sum(rights for since, rights in _ALL_OF_VERSION.items() if since <= version)
    made = _Ruleset(
        handled,
        _BIND_TCP | _CONNECT_TCP if version >= _NET_FROM else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES_FROM else 0,
    )
    size = 24 if version >= _SCOPES_FROM else 16 if version >= _NET_FROM else 8
    ruleset = _checked(_libc().syscall(_CREATE_RULESET, ctypes.byref(made), size, 0), "landlock_create_ruleset")
    try:
        for paths, rights in ((allowed.reads, READ), (allowed.loads, LOAD), (allowed.writes, WRITE)):
            for path in paths:
                _allow_path(ruleset, path, rights & handled)
        if version >= _NET_FROM:
            for port, right in [(p, _CONNECT_TCP) for p in allowed.connects] + [(p, _BIND_TCP) for p in allowed.binds]:
                _add(ruleset, _NET_PORT, _PortRule(right, port))
        no_new_privileges()
        _checked(_libc().syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)
    return version


def no_new_privileges() -> None:
    """Give up what a set-user-ID program would gain; Landlock and seccomp ask for it."""
    _checked(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def _allow_path(ruleset: int, path: Path, rights: int) -> None:
    with _opened(path) as fd:
        if fd is not None:
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
            _add(ruleset, _PATH_BENEATH, _PathRule(rights if is_folder else rights & _OF_FILES, fd))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _add(ruleset: int, kind: int, rule: ctypes.Structure) -> None:
    _checked(_libc().syscall(_ADD_RULE, ruleset, kind, ctypes.byref(rule), 0), "landlock_add_rule")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
