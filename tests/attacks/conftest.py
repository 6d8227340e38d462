"""Attacks: hostile inputs, signals and exhausted resources, each against the real processes or their real parts."""

import pytest

from tests.support.ca import Authority, make_authority


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests below tests/attacks; those that use the shared instance join the end-to-end group."""
    for item in items:
        if "tests/attacks" in item.nodeid:
            is_sharing = "instance" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("e2e" if is_sharing else item.nodeid.split("::")[0]))


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A CA and its responder."""
    return make_authority()
