"""A network of its own for a host, where the machine allows one: a namespace with two cables, one to the askers and one
to Postgres (to the proxies in front of it), so that the second can be pulled while questions still arrive. Where none
can be made the host shares ours, and the fault that pulls a cable is left out.
"""

import os
import subprocess
from typing import NamedTuple

LOOPBACK = "127.0.0.1"
#: Networks are 10.83.N.0/30 (askers) and 10.83.N.4/30 (ledger), of the first N that nobody here has.
_PREFIX, _NUMBERS = "10.83", range(200)


class Network(NamedTuple):
    """Where the host is asked, where it finds the ledger, and the words that start a program in it."""

    name: str = ""
    asked_at: str = LOOPBACK
    ledger_at: str = LOOPBACK
    words: tuple[str, ...] = ()
    cable: str = ""

    @property
    def own(self) -> bool:
        """It is a namespace."""
        return bool(self.name)

    def pull(self) -> None:
        """Nothing passes between the host and the ledger, and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        """It does again."""
        _ip("link", "set", self.cable, "up")

    def remove(self) -> None:
        """Its cables go with it."""
        if self.own:
            _ip("netns", "del", self.name)


def lay(name: str) -> Network:
    """A network for the host of that name; ours where that is not allowed."""
    space = f"fastocsp-{os.getpid()}-{name}"
    try:
        _ip("netns", "add", space)
    except (OSError, subprocess.CalledProcessError):
        return Network()
    try:
        return _wired(space, name)
    except (OSError, subprocess.CalledProcessError):
        _ip("netns", "del", space)
        return Network()


def _wired(space: str, name: str) -> Network:
    number = next(n for n in _NUMBERS if not _ip("-o", "addr", "show", "to", f"{_PREFIX}.{n}.0/24"))
    inside = ("-n", space)
    for purpose, at in (("c", 0), ("l", 4)):
        ours, theirs = f"f{os.getpid()}{name[0]}{purpose}", f"{purpose}0"
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", space)
        _ip("addr", "add", f"{_PREFIX}.{number}.{at + 1}/30", "dev", ours)
        _ip(*inside, "addr", "add", f"{_PREFIX}.{number}.{at + 2}/30", "dev", theirs)
        _ip("link", "set", ours, "up")
        _ip(*inside, "link", "set", theirs, "up")
    _ip(*inside, "link", "set", "lo", "up")
    return Network(
        space,
        asked_at=f"{_PREFIX}.{number}.2",
        ledger_at=f"{_PREFIX}.{number}.5",
        words=("ip", "netns", "exec", space),
        cable=f"f{os.getpid()}{name[0]}l",
    )


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
