"""Fault runs judge how soon the product answers: `make test` runs them after everything else, alone. The broken builds
are judged by their lies, and run beside other tests.
"""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The checker's own tests may run anywhere."""
    for item in items:
        if "tests/faults" in item.nodeid and "test_checker" not in item.nodeid:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)
            if "test_broken" not in item.nodeid:
                item.add_marker(pytest.mark.alone)
