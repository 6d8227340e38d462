"""An index.txt into the ledger: in one transaction, or revocations first."""

import time
from collections.abc import Callable

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused
from cachewarm.importer import import_index as module
from cachewarm.importer.import_index import ImportResult, UnfitIndex, import_staged, stage
from cachewarm.importer.openssl_index import Problem
from cachewarm.ledger.connect import Connection, connected
from cachewarm.ledger.issuers import Issuer
from tests.support.plant import found_test_ca

NOW = int(time.time())
LINES = [
    b"V\t20400101000000Z\t\t01\tunknown\t/CN=a\n",
    b"R\t20400101000000Z\t250601000000Z,superseded\t02\tunknown\t/CN=b\n",
    b"E\t250101000000Z\t\t03\tunknown\t/CN=c\n",
]
EARLY = b"R\t20400101000000Z\t19690101000000Z\t04\tunknown\t/CN=d\n"


async def take_in(
    connection: Connection, issuer: Issuer, *lines: bytes, progress: Callable[[int], None] = lambda _: None
) -> ImportResult:
    """Import these lines."""
    staged = await stage(connection, lines, progress=lambda _: None)
    return await import_staged(connection, issuer, staged, actor="tests", progress=progress)


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
        done = await take_in(connection, issuer, *LINES, progress=heard.append)
        assert (done.new_certificates, done.changed_revocations, sum(heard)) == (3, 1, 4)
        rows = await connection.fetch(
            "select status, not_before <= not_after as sound from certificates order by serial_number"
        )
    assert [tuple(row) for row in rows] == [("good", True), ("revoked", True), ("good", True)]


async def test_what_the_ledger_refuses_leaves_nothing(database: DatabaseURLs, issuer: Issuer) -> None:
    """Certificates of the same transaction are gone too."""
    async with connected(database.owner) as owner, connected(database.cli) as connection:
        await owner.execute("alter table certificate_revocations add check (serial_number <> '\\x02')")
        with pytest.raises(Refused):
            await take_in(connection, issuer, *LINES)
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
            await take_in(connection, issuer, *LINES, progress=break_off)
        assert await _counts(connection) == (0, 1)
        again = await take_in(connection, issuer, *LINES)
        assert (again.new_certificates, again.changed_revocations) == (3, 0)
        assert again.still_revoked == []


async def test_unfit_lines_are_named_in_order_and_nothing_is_written(database: DatabaseURLs, issuer: Issuer) -> None:
    """Lines that cannot be read, times out of range, and serial numbers that are there twice, however spelled."""
    lines = [
        *LINES,
        EARLY,
        b"nonsense\n",
        b"R\t20400101000000Z\t29990101000000Z\t001\tunknown\t/CN=a\n",
        b"V\t20400101000000Z\t\t1\tunknown\t/CN=a\n",
        b"R\t20400101000000Z\t29990101000000Z\t5\tunknown\t/CN=a\n",
    ]
    async with connected(database.cli) as connection:
        with pytest.raises(UnfitIndex) as caught:
            await take_in(connection, issuer, *lines)
        assert caught.value.problems == [
            Problem(4, "the revocation date 1969-01-01T00:00:00+00:00 is before 1970"),
            Problem(5, "1 fields instead of 6, which stand between tabs"),
            Problem(6, "serial 01 is already in line 1"),
            Problem(7, "serial 01 is already in line 1"),
            Problem(8, "the revocation date 2999-01-01T00:00:00+00:00 is more than a day in the future"),
        ]
        assert (caught.value.count, await _counts(connection)) == (5, (0, 0))
        with pytest.raises(UnfitIndex, match="70 lines"):
            await take_in(connection, issuer, *[b"\n"] * 70)
        assert (await take_in(connection, issuer, *LINES)).new_certificates == 3


async def test_an_invalidity_date_that_the_ledger_cannot_hold_is_left_out(
    database: DatabaseURLs, issuer: Issuer
) -> None:
    """The certificate is revoked, the other dates are kept, and the result counts what was left out."""
    lines = [
        b"R\t20400101000000Z\t250601000000Z,keyTime,99991231235959Z\t05\tunknown\t/CN=a\n",
        b"R\t20400101000000Z\t250601000000Z,CAkeyTime,19550101000000Z\t06\tunknown\t/CN=b\n",
        b"R\t20400101000000Z\t250601000000Z,keyTime,20250101000000Z\t07\tunknown\t/CN=c\n",
    ]
    async with connected(database.cli) as connection:
        done = await take_in(connection, issuer, *lines)
        dates = await connection.fetch("select invalidity_date from certificate_revocations order by serial_number")
    assert (done.changed_revocations, done.dates_dropped) == (3, 2)
    assert [row["invalidity_date"] is None for row in dates] == [True, True, False]
