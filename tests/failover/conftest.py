"""The product on a ledger that it does not run: a primary and a standby. One xdist worker has them all."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failover.pair import Pair
from tests.support.fixtures import scratch
from tests.support.instance import Instance

HORIZON_S = 4.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starting and killing two clusters and a product is enough for one worker."""
    for item in items:
        if "tests/failover" in item.nodeid:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("failover"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """That the account of Postgres can reach."""
    made = scratch()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def pair(folder: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Synchronous unless the test's parameter says otherwise."""
    made = Pair(folder, synchronous=getattr(request, "param", True))
    try:
        asyncio.run(made.join())
        yield made
    finally:
        made.stop()


@pytest.fixture
def product(pair: Pair, folder: Path) -> Iterator[Instance]:
    """Everything but Postgres; it goes to whichever of the two is the primary."""
    running = Instance(
        folder / "data",
        revoked=1,
        FASTOCSP_DATABASE_URL=pair.url(),
        FASTOCSP_HORIZON=f"{HORIZON_S:.0f}s",
        FASTOCSP_POLL_INTERVAL="100ms",
        FASTOCSP_LOG_FORMAT="json",
    ).start()
    yield running
    running.stop()
