"""An index.txt into the ledger: in one transaction, or revocations first."""

import time

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused
from cachewarm.importer import import_index as module
from cachewarm.importer.import_index import import_entries, problems_of
from cachewarm.importer.openssl_index import Index, iter_index
from cachewarm.ledger.connect import Connection, connected
from cachewarm.ledger.issuers import Issuer
from responder.domain.status import CRLReason
from tests.support.plant import found_test_ca

NOW = int(time.time())
LINES = [
    b"V\t20400101000000Z\t\t01\tunknown\t/CN=a\n",
    b"R\t20400101000000Z\t250601000000Z,superseded\t02\tunknown\t/CN=b\n",
    b"E\t250101000000Z\t\t03\tunknown\t/CN=c\n",
]
EARLY = b"R\t20400101000000Z\t19690101000000Z\t04\tunknown\t/CN=d\n"


def index_of(*lines: bytes) -> Index:
    """The index of these lines, each of which can be read."""
    return Index(tuple(iter_index(lines)), ())  # type: ignore[arg-type]


@pytest.fixture
async def issuer(database: DatabaseURLs, tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """A new local root."""
    async with connected(database.cli) as connection:
        keys = tmp_path_factory.mktemp("keys")
        return await found_test_ca(connection, keys, issuer_id="root", name="Root", now=NOW)


async def _counts(connection: Connection) -> tuple[int, int]:
    return (
        await connection.fetchval("select count(*) from certificates"),
        await connection.fetchval("select count(*) from certificate_revocations"),
    )


@pytest.mark.parametrize("atomic", [2, 3])
async def test_small_and_large_files_end_alike(
    database: DatabaseURLs, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, atomic: int
) -> None:
    """Whether in one transaction or in several; progress hears of every row."""
    monkeypatch.setattr(module, "ATOMIC", atomic)
    heard: list[int] = []
    async with connected(database.cli) as connection:
        done = await import_entries(connection, issuer, index_of(*LINES).entries, actor="tests", progress=heard.append)
        assert (done.new_certificates, done.changed_revocations, sum(heard)) == (3, 1, 4)
        rows = await connection.fetch(
            "select status, not_before <= not_after as sound from certificates order by serial_number"
        )
    assert [tuple(row) for row in rows] == [("good", True), ("revoked", True), ("good", True)]


async def test_what_the_ledger_refuses_leaves_nothing(database: DatabaseURLs, issuer: Issuer) -> None:
    """Certificates of the same transaction are gone too."""
    async with connected(database.cli) as connection:
        with pytest.raises(Refused):
            await import_entries(
                connection, issuer, index_of(*LINES, EARLY).entries, actor="tests", progress=lambda _: None
            )
        assert await _counts(connection) == (0, 0)


async def test_a_large_file_never_leaves_a_revoked_certificate_good(
    database: DatabaseURLs, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off between the two halves, the revocations are there and the certificates are not."""
    monkeypatch.setattr(module, "ATOMIC", 1)

    def break_off(_: int) -> None:
        raise KeyboardInterrupt

    async with connected(database.cli) as connection:
        with pytest.raises(KeyboardInterrupt):
            await import_entries(connection, issuer, index_of(*LINES).entries, actor="tests", progress=break_off)
        assert await _counts(connection) == (0, 1)
        again = await import_entries(
            connection, issuer, index_of(*LINES).entries, actor="tests", progress=lambda _: None
        )
        assert (again.new_certificates, again.changed_revocations) == (3, 0)
        assert again.still_revoked == []


def test_a_time_that_lies_ahead_is_a_problem_of_its_line() -> None:
    """Found before the ledger is asked; what is in order is none."""
    assert problems_of(index_of(*LINES), NOW) == []
    (problem,) = problems_of(index_of(*LINES, EARLY), NOW)
    assert problem.line == 4
    assert CRLReason.unspecified.name not in problem.reason


async def test_an_invalidity_date_that_the_ledger_cannot_hold_is_left_out(
    database: DatabaseURLs, issuer: Issuer
) -> None:
    """The certificate is revoked, the other dates are kept, and the result counts what was left out."""
    lines = [
        b"R\t20400101000000Z\t250601000000Z,keyTime,99991231235959Z\t05\tunknown\t/CN=a\n",
        b"R\t20400101000000Z\t250601000000Z,CAkeyTime,19550101000000Z\t06\tunknown\t/CN=b\n",
        b"R\t20400101000000Z\t250601000000Z,keyTime,20250101000000Z\t07\tunknown\t/CN=c\n",
    ]
    assert problems_of(index_of(*lines), NOW) == []
    async with connected(database.cli) as connection:
        done = await import_entries(
            connection, issuer, index_of(*lines).entries, actor="tests", progress=lambda _: None
        )
        dates = await connection.fetch("select invalidity_date from certificate_revocations order by serial_number")
    assert (done.changed_revocations, done.dates_dropped) == (3, 2)
    assert [row["invalidity_date"] is None for row in dates] == [True, True, False]
