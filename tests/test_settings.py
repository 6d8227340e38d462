"""Every documented setting is read by some process; a setting that nothing reads misleads whoever sets it."""

import re
from pathlib import Path

from cachewarm.config import Settings
from tests.support.instance import ROOT

#: Settings that nothing reads yet, by the title of the issue that will; empty at the end of the round.
PENDING = {"cert_export_rate_limit_per_actor_hr": "API, roles, audit, metrics and alerts"}
SOURCES = [path for package in ("responder", "cachewarm") for path in Path(ROOT, package).rglob("*.py")]


def unread(names: set[str]) -> set[str]:
    """Return the settings that no module names as an attribute."""
    text = "\n".join(path.read_text() for path in SOURCES)
    return {name for name in names if not re.search(rf"\.{name}\b", text)}


def test_every_setting_is_read() -> None:
    """Those of PENDING are the exception, and leave that list once they are read."""
    assert unread(set(Settings.fields)) == set(PENDING)


def test_a_setting_that_nothing_reads_is_found() -> None:
    """The search can fail."""
    assert unread({"port", "no_such_setting"}) == {"no_such_setting"}
