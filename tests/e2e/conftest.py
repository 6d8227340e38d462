"""End-to-end tests: those of the shared instance (tests/support/fixtures.py) are one xdist group, others by module."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests below tests/e2e, and group them."""
    for item in items:
        if "tests/e2e" in item.nodeid:
            is_sharing = "instance" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("e2e" if is_sharing else item.nodeid.split("::")[0]))
