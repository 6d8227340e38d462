"""`fastocsp edge`: leases are listed, the horizon is set, an edge that is gone is forgotten."""

from datetime import timedelta

from cachewarm.embedded.provision import DatabaseURLs
from tests.cachewarm.cli.conftest import Fastocsp
from tests.cachewarm.cli.test_revoke import lease


async def test_edges_are_listed_and_forgotten(root_ca: Fastocsp, database: DatabaseURLs) -> None:
    """With their horizon and lag; an unknown name is an error."""
    await lease(database, "paris", timedelta(seconds=20))
    said = root_ca("edge", "list", "--json").json
    assert [(row["edge"], row["horizon_s"], row["seq_lag"]) for row in said["edges"]] == [("paris", 20.0, 0)]
    assert root_ca("edge", "forget", "london").status == 1
    assert root_ca("edge", "forget", "paris").status == 0
    assert root_ca("edge", "list", "--json").json["row_count"] == 0


def test_orphans_are_of_a_host_with_an_edge(root_ca: Fastocsp) -> None:
    """Elsewhere that is said, and nothing is made."""
    before = root_ca.files()
    said = root_ca("edge", "orphans")
    assert (said.status, said.out) == (1, "")
    assert "no edge has a journal in" in said.err
    assert root_ca.files() == before


async def test_the_horizon_is_shown_and_set(root_ca: Fastocsp, database: DatabaseURLs) -> None:
    """A waiter still waits for a longer lease that was given before; a horizon out of range is a usage error."""
    await lease(database, "paris", timedelta(seconds=20))
    assert root_ca("edge", "horizon", "--json").json == {"horizon_s": 30.0, "waited_for_s": 30.0}
    assert root_ca("edge", "horizon", "10s", "--json").json == {"horizon_s": 10.0, "waited_for_s": 20.0}
    for wrong in ("1s", "2h", "soon"):
        assert root_ca("edge", "horizon", wrong).status == 2
