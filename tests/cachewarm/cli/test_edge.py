"""`fastocsp edge` and `fastocsp db roles`: logins are made, shown once and taken away; leases and horizon are shown."""

import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connected
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.edges import lease

POLL = "select status from feed_poll($1, $2, '20 s', 1, 0, sha256(''))"


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """Of the ledger; the logins that a test made go with it, as they are the whole server's."""
    async with connected(database.owner) as connection:
        yield connection
        for name in ("edge_paris", "signer_paris", "edge_rome", "signer_rome"):
            await connection.execute(f"drop role if exists fastocsp_{name}")


@pytest.fixture
def as_owner(root_ca: Fastocsp, database: DatabaseURLs, owner: Connection) -> Fastocsp:
    """The command with the owner's URL."""
    return Fastocsp(root_ca.folder, root_ca.environ | {"FASTOCSP_DATABASE_URL": database.owner})


async def polled(url: str, edge: str) -> str:
    """The status of one poll with that URL in that name."""
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval(POLL, edge, uuid4()))
    finally:
        await connection.close()


async def test_a_new_edge_has_a_login_that_speaks_for_it_alone(as_owner: Fastocsp, database: DatabaseURLs) -> None:
    """The URLs work; the edge's is refused under another name, the signer's under any. Who was refused is listed."""
    await lease(database, "london", timedelta(seconds=20))
    said = as_owner("edge", "add", "paris", "--json")
    assert said.status == 0, said.err
    edge, signer = (row["url"] for row in said.json["logins"])
    assert await polled(edge, "paris") == "first"
    assert await polled(edge, "london") == "refused"
    assert await polled(signer, "paris") == "refused"
    listed = as_owner("edge", "list", "--json")
    assert {row["edge"]: (row["login"], row["state"]) for row in listed.json["edges"]} == {
        "london": ("fastocsp_edge", "leased"),
        "paris": ("fastocsp_edge_paris", "leased"),
    }
    assert "fastocsp_edge_paris at local polled as london" in listed.err
    assert "fastocsp_signer_paris at local polled as paris" in listed.err
    again = as_owner("edge", "add", "paris", "--json").json["logins"][0]["url"]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await polled(edge, "paris")
    assert await polled(again, "paris") == "first"


async def test_urls_are_written_for_their_owner_alone(as_owner: Fastocsp) -> None:
    """With --write nothing secret is shown."""
    said = as_owner("edge", "add", "rome", "--write", "urls")
    assert (said.status, "postgresql://" in said.out + said.err) == (0, False)
    for name in ("edge_rome", "signer_rome"):
        path = as_owner.folder / "urls" / f"fastocsp_{name}.url"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await polled(Path(as_owner.folder, "urls", "fastocsp_edge_rome.url").read_text().strip(), "rome") == "first"


async def test_a_dba_runs_what_sql_prints(offline: Fastocsp, owner: Connection, database: DatabaseURLs) -> None:
    """It needs no connection, holds no password, may be run twice, and the login works."""
    said = offline("edge", "add", "rome", "--sql", "--write", "urls")
    assert said.status == 0, said.err
    url = (offline.folder / "urls" / "fastocsp_edge_rome.url").read_text().strip()
    password = url.split(":")[2].partition("@")[0]
    assert password not in said.out
    for _ in range(2):
        await owner.execute(said.out)
    place = database.owner.rpartition("@")[2]
    assert await polled(f"postgresql://fastocsp_edge_rome:{password}@{place}", "rome") == "first"


def test_a_login_that_may_not_make_others_is_told_what_to_do(root_ca: Fastocsp) -> None:
    """Nothing is made."""
    said = root_ca("edge", "add", "paris")
    assert (said.status, said.out) == (1, "")
    assert "CREATEROLE" in said.err
    assert "--sql" in said.err


@pytest.mark.parametrize("name", ["(a)", "a b", "", "x" * 101, "a'b"])
def test_names_that_no_login_can_have_are_refused(root_ca: Fastocsp, name: str) -> None:
    """Before anything is printed or made."""
    said = root_ca("edge", "add", name, "--sql")
    assert (said.status, said.out) == (1, "")


async def test_a_removed_edge_has_no_word_and_no_login(
    as_owner: Fastocsp, root_ca: Fastocsp, database: DatabaseURLs, owner: Connection
) -> None:
    """Whoever may not drop logins takes the word away all the same, and says which are left."""
    url = as_owner("edge", "add", "paris", "--json").json["logins"][0]["url"]
    assert as_owner("edge", "remove", "london").status == 1
    said = root_ca("edge", "remove", "paris")
    assert said.status == 0
    assert 'DROP ROLE "fastocsp_edge_paris"' in said.err
    assert await polled(url, "paris") == "refused"
    as_owner("edge", "add", "paris")
    assert as_owner("edge", "forget", "paris").err.strip() == "paris is removed"
    assert await owner.fetchval("select to_regrole('fastocsp_edge_paris') is null")
    assert as_owner("edge", "list", "--json").json["row_count"] == 0


async def test_the_catalogue_of_logins_is_listed_and_printed(
    as_owner: Fastocsp, offline: Fastocsp, owner: Connection
) -> None:
    """What is there, what each is for, and SQL that a DBA may run before there is any schema, and again."""
    rows = {row["login"]: row for row in as_owner("db", "roles", "--json").json["logins"]}
    assert rows["fastocsp_warmer"]["there"] is True
    assert rows["fastocsp_signer"]["group"] == "fastocsp_reader"
    said = offline("db", "roles", "--sql", "--owner", "fastocsp", "--write", "urls")
    assert said.status == 0
    assert "SCRAM-SHA-256$" in said.out
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute(said.out)
    await transaction.rollback()
    one = offline("db", "roles", "--sql", "--only", "fastocsp_ca_signer", "--write", "one")
    assert {path.name for path in (offline.folder / "one").iterdir()} == {"fastocsp_ca_signer.url"}
    assert 'alter role "fastocsp_warmer"' not in one.out
    assert offline("db", "roles", "--sql", "--only", "fastocsp_edge").status == 2


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
