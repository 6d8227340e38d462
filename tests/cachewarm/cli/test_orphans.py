"""`fastocsp orphans`: list, confirm with and without evidence, dismiss, limit."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connected
from cachewarm.orphans.watch import OrphanWatch
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.edges import register

THEN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@pytest.fixture
async def serials(root_ca: Fastocsp, database: DatabaseURLs, writer: Connection) -> list[str]:
    """Four serial numbers of `root` that an edge reported."""
    named = [f"1{number:015x}" for number in range(4)]
    await register(database, "paris")
    async with connected(database.edge, check=False) as reader:
        await reader.fetch(
            "select * from feed_report_orphans('paris', 1, 0, $1, $2, $3, $4)",
            [1] * 4,
            [bytes.fromhex(serial) for serial in named],
            [int(THEN.timestamp())] * 4,
            [1] * 4,
        )
    await OrphanWatch().look(writer)
    return named


async def test_orphans_are_listed_and_status_names_them(root_ca: Fastocsp, serials: list[str]) -> None:
    """With who reported them."""
    said = root_ca("orphans", "list", "--json").json["orphans"]
    assert [(row["serial_number"], row["edges"], row["state"], row["in_crl"]) for row in said] == [
        (serial, "paris", "open", False) for serial in serials
    ]
    shown = root_ca("status")
    assert "orphans (`fastocsp orphans list`) of root" in shown.out + shown.err
    assert root_ca("orphans", "list", "--issuer", "other", "--json").json["orphans"] == []


async def test_an_orphan_is_confirmed_once_with_its_time(
    root_ca: Fastocsp, serials: list[str], writer: Connection
) -> None:
    """By an operator's word; audited with the name of the account."""
    [row] = root_ca("orphans", "confirm", serials[0], "--json").json["orphans"]
    assert (row["state"], row["serial_number"]) == ("confirmed", serials[0])
    found = await writer.fetchrow("select revoked_at, reason from certificate_revocations")
    assert found is not None
    assert tuple(found) == (THEN, 1)
    event = await writer.fetchrow("select actor, detail from audit_events where action = 'orphan confirmed'")
    assert event is not None
    assert json.loads(event["detail"])["evidence"] == "an operator's word"
    again = root_ca("orphans", "confirm", serials[0])
    assert (again.status, "no open orphan" in again.err) == (1, True)
    assert root_ca("orphans", "confirm").status == 2


async def test_evidence_that_proves_nothing_confirms_nothing(
    root_ca: Fastocsp, serials: list[str], tmp_path: Path, writer: Connection
) -> None:
    """An empty CRL of the same issuer, and a file that is none."""
    assert root_ca("crl", "generate", "root").status == 0
    crl = await writer.fetchval("select crl_der from crl_cache")
    (tmp_path / "empty.crl").write_bytes(crl)
    (tmp_path / "none.crl").write_bytes(b"nothing")
    for name in ("empty.crl", "none.crl"):
        assert root_ca("orphans", "confirm", "--evidence", name).status == 1
        assert root_ca("orphans", "confirm", serials[0], "--evidence", name).status == 1
    assert await writer.fetchval("select count(*) from certificate_revocations") == 0


async def test_a_dismissed_orphan_is_listed_with_all(root_ca: Fastocsp, serials: list[str]) -> None:
    """With the reason; the limit of a login can be set."""
    assert root_ca("orphans", "dismiss", serials[1]).status == 2, "without --why"
    assert root_ca("orphans", "dismiss", serials[1], "--why", "captured edge").status == 0
    assert root_ca("orphans", "dismiss", serials[1], "--why", "captured edge").status == 1
    assert len(root_ca("orphans", "list", "--json").json["orphans"]) == 3
    rows = root_ca("orphans", "list", "--all", "--json").json["orphans"]
    assert [row["evidence"] for row in rows if row["state"] == "dismissed"] == ["captured edge"]
    assert root_ca("orphans", "limit", "5000").status == 0
