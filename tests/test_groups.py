"""Tests that share an instance run in one xdist worker."""

import pytest

from tests.support.grouping import FAILOVER, SHARED, scope_of


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/e2e/test_http.py::test_any", SHARED),
        ("tests/e2e/test_garbage.py::test_any[1]", SHARED),
        ("tests/e2e/test_revoking.py::test_any", SHARED),
        ("tests/attacks/test_signals.py::test_any", SHARED),
        ("tests/e2e/test_fence.py::test_any[a::b]", "tests/e2e/test_fence.py"),
        ("tests/e2e/test_ladder.py::test_any", "tests/e2e/test_ladder.py"),
        ("tests/failover/test_old_dump.py::test_any", FAILOVER),
        ("tests/cachewarm/cli/test_main.py::test_any[1]", "tests/cachewarm/cli/test_main.py::test_any[1]"),
    ],
)
def test_group_is_the_module_or_what_it_shares(nodeid: str, scope: str) -> None:
    """Modules with an instance of their own stay whole, those of the shared instance are together."""
    assert scope_of(nodeid) == scope
