"""Which tests run in the same xdist worker, because they share what is dear to start.

xdist reads the groups of `xdist_group` out of the nodes' ids, where its release 3.8 cannot write them under pytest 9.2:
no group is kept together there. The scopes are made here instead, from the path alone.
"""

import functools
import re
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[2]
SHARED, FAILOVER = "the shared instance", "failover"
_MODULES = ("tests/e2e/", "tests/attacks/", "tests/faults/test_broken.py", "tests/test_pages.py")
_USES_INSTANCE = re.compile(
    r"^(?:async def|def) test_\w+\([^)]*\binstance: Instance\b"
    r"|^@pytest\.fixture[^\n]*\n(?:async def|def) \w+\([^)]*\binstance: Instance\b",
    re.MULTILINE,
)


def scope_of(nodeid: str) -> str:
    """Return the group of a test: tests of one group run one after the other in one worker."""
    path = nodeid.partition("::")[0]
    if path.startswith("tests/failover/"):
        return FAILOVER
    if path.startswith(_MODULES):
        return SHARED if _shares(path) else path
    return nodeid


@functools.cache
def _shares(path: str) -> bool:
    return bool(_USES_INSTANCE.search((ROOT / path).read_text()))


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Largest groups first, then single tests."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
