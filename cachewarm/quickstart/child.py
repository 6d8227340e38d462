"""`python -m cachewarm.quickstart.child NAME`: one process of the quickstart, its settings in its environment.

The quickstart forks it (responder/fork_server.py); the edge is passed the way to the fork server, for its workers.
"""

import sys
from collections.abc import Callable

from cachewarm.config import Settings
from responder.config import load_settings
from responder.forks import ForkServer

#: What these processes load, their workers included; it is loaded once, before any of them is forked.
MODULES = [
    "responder.plain_logs",
    "cachewarm.quickstart.child",
    "responder.master",
    "responder.worker.worker",
    "responder.worker.warm_up",
    "cachewarm.ca_signer.run",
    "cachewarm.signer.run",
    "cachewarm.warmer.warmer",
    "cachewarm.admin.run",
    "cachewarm.quickstart.preload",
]
FORKS = "--forks"


def main() -> None:
    """Run it until told to stop: NAME, and `--forks FD` for the edge."""
    name, *words = sys.argv[1:]
    forks = ForkServer.at(int(words[1])) if words[:1] == [FORKS] else None
    run(name, forks)


def run(name: str, forks: ForkServer | None = None) -> None:
    """Run the process of that name until told to stop."""
    settings = load_settings(Settings, instance=False)
    if name == "edge":
        _edge(settings, forks)
    else:
        _RUNNERS[name](settings)


def _edge(settings: Settings, forks: ForkServer | None) -> None:
    from responder.config import EdgeSettings
    from responder.master import run_as_child

    fields = {field: getattr(settings, field) for field in EdgeSettings.fields}
    run_as_child(EdgeSettings(**fields), forks)


def _ca_signer(settings: Settings) -> None:
    from cachewarm.ca_signer.run import run_ca_signer

    run_ca_signer(settings, child=True)


def _signer(settings: Settings) -> None:
    from cachewarm.signer.run import run_signer

    run_signer(settings, child=True)


def _warmer(settings: Settings) -> None:
    from cachewarm.warmer.warmer import run_warmer

    run_warmer(settings, child=True)


def _admin(settings: Settings) -> None:
    from cachewarm.admin.run import run_admin

    run_admin(settings, child=True)


_RUNNERS: dict[str, Callable[[Settings], None]] = {
    "ca_signer": _ca_signer,
    "signer": _signer,
    "warmer": _warmer,
    "admin": _admin,
}

if __name__ == "__main__":
    main()
