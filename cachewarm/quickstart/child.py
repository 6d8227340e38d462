"""`python -m cachewarm.quickstart.child NAME`: one process of the quickstart, its settings in its environment."""

import sys
from collections.abc import Callable

from cachewarm.config import Settings
from responder.config import load_settings


def main(name: str) -> None:
    """Run it until told to stop."""
    settings = load_settings(Settings, instance=False)
    _RUNNERS[name](settings)


def _edge(settings: Settings) -> None:
    from responder.config import EdgeSettings
    from responder.master import run_as_child

    fields = {field: getattr(settings, field) for field in EdgeSettings.fields}
    run_as_child(EdgeSettings(**fields))


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
    "edge": _edge,
    "signer": _signer,
    "warmer": _warmer,
    "admin": _admin,
}

if __name__ == "__main__":
    main(sys.argv[1])
