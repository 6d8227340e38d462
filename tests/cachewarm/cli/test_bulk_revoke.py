"""`fastocsp bulk-revoke`: a file of serial numbers, resumed, waited for once."""

from datetime import timedelta

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.feed import set_horizon
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.edges import lease


@pytest.fixture
def issued(root_ca: Fastocsp) -> list[str]:
    """Serial numbers of three certificates of root."""
    names = ("a.example", "b.example", "c.example")
    return [str(root_ca("ca", "issue", "root", "--name", name, "--json").json["serial"]) for name in names]


async def test_a_file_is_revoked_and_resumed(root_ca: Fastocsp, issued: list[str], writer: Connection) -> None:
    """Comments and blank lines are skipped, strangers named; who runs it again changes what was left."""
    path = root_ca.folder / "serials"
    path.write_text(f"# a leak\n{issued[0]}\n\n")
    first = root_ca("bulk-revoke", path, "--issuer", "root", "--reason", "keyCompromise", "--wait", "--json")
    assert (first.status, first.json["result"], first.json["changed"]) == (0, "CONFIRMED", 1)
    path.write_text("\n".join([*issued, "5e5e  # not ours"]))
    again = root_ca("bulk-revoke", path, "--issuer", "root", "--reason", "superseded", "--json")
    assert (again.status, again.json["asked"], again.json["changed"], again.json["unknown"]) == (0, 4, 2, ["5e5e"])
    assert "5e5e" in again.err
    rows = await writer.fetch("select reason from certificate_revocations order by reason")
    assert [row["reason"] for row in rows] == [1, 4, 4]


def test_a_file_that_is_no_text_is_said_to_be_none(root_ca: Fastocsp) -> None:
    """A DER file by mistake, a folder, a file that is not there: exit status 1 and a sentence."""
    path = root_ca.folder / "serials"
    path.write_bytes(b"\x30\x82\xff\xfe")
    for wrong, word in ((path, "not text"), (root_ca.folder, "directory"), (root_ca.folder / "none", "No such file")):
        said = root_ca("bulk-revoke", wrong, "--issuer", "root")
        assert (said.status, said.out) == (1, "")
        assert said.err.startswith("fastocsp: ")
        assert word in said.err


async def test_one_bad_line_revokes_none(root_ca: Fastocsp, issued: list[str], writer: Connection) -> None:
    """Exit status 1, and the line is named."""
    path = root_ca.folder / "serials"
    path.write_text(f"{issued[0]}\nnot hex\n")
    said = root_ca("bulk-revoke", path, "--issuer", "root")
    assert (said.status, said.out) == (1, "")
    assert "2: " in said.err
    assert await writer.fetchval("select count(*) from certificate_revocations") == 0


async def test_an_edge_that_does_not_answer_bounds_it(
    root_ca: Fastocsp, issued: list[str], database: DatabaseURLs, writer: Connection
) -> None:
    """BOUNDED with exit status 3 after the patience, CONFIRMED by the horizon without one."""
    await set_horizon(writer, 3)
    await lease(database, "silent", timedelta(seconds=3))
    path = root_ca.folder / "serials"
    path.write_text(issued[0])
    said = root_ca("bulk-revoke", path, "--issuer", "root", "--wait", "--patience", "0.2", "--json")
    assert (said.status, said.json["result"], said.json["edges"]) == (3, "BOUNDED", ["silent"])
    said = root_ca("bulk-revoke", path, "--issuer", "root", "--wait", "--json")
    assert (said.status, said.json["result"]) == (0, "CONFIRMED")
    assert said.json["waited_ms"] > 3000
