"""Fixtures of the edge's tests."""

import pytest

from tests.support.ca import Authority, make_authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    """One CA and its delegated responder for the whole session."""
    return make_authority()
