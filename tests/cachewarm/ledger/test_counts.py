"""The ledger's count of unexpired certificates: kept by triggers, folded by a warmer, read by edges; and the sample."""

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger import coverage, heartbeats
from cachewarm.ledger.connect import Connection, connected
from cachewarm.ledger.inventory import add_certificates
from cachewarm.ledger.issuers import Issuer, add_issuer
from cachewarm.ledger.migrate import migrate, read_migrations
from responder.feed import inventory
from tests.cachewarm.ledger.conftest import NOW, YEAR, certificate, serial


async def counted(reader: Connection) -> dict[str, int]:
    """Return the counts as an edge reads them."""
    return await inventory.read_unexpired(reader)


CHANGES = {
    "insert": ("insert into certificates values ('ca', '\\x77', '', now(), now() + interval '1 day')", 10),
    "insert expired": ("insert into certificates values ('ca', '\\x77', '', now(), now() - interval '5 hours')", 9),
    "insert again": (
        "insert into certificates select * from certificates where issuer_id = 'ca' on conflict do nothing",
        9,
    ),
    "upsert": (
        "insert into certificates select issuer_id, serial_number, subject, not_before, now() + interval '9 days'"
        " from certificates on conflict (issuer_id, serial_number) do update set not_after = excluded.not_after",
        10,
    ),
    "delete": ("delete from certificates where serial_number = (select min(serial_number) from certificates)", 8),
    "shorten": ("update certificates set not_after = now() - interval '5 hours'", 0),
    "lengthen": ("update certificates set not_after = now() + interval '3 hours'", 10),
    "subject": ("update certificates set subject = 'CN=another'", 9),
}


@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize("name", CHANGES)
async def test_every_change_of_the_inventory_is_counted(
    owner: Connection, writer: Connection, reader: Connection, issuer: Issuer, name: str, is_folded: bool
) -> None:
    """Nine certificates are valid; whatever changes that, whoever writes it, folded or not, the count follows."""
    assert await counted(reader) == {issuer.issuer_id: 9}
    if is_folded:
        await coverage.fold_counts(writer)
        assert await counted(reader) == {issuer.issuer_id: 9}
    statement, left = CHANGES[name]
    await owner.execute(statement)
    assert await counted(reader) == ({issuer.issuer_id: left} if left else {})
    await coverage.fold_counts(writer)
    assert await counted(reader) == ({issuer.issuer_id: left} if left else {})
    assert await writer.fetchval("select count(*) from certificates where not_after > now()") == left


async def test_an_expired_bucket_leaves_the_count_with_and_without_a_fold(
    owner: Connection, writer: Connection, reader: Connection, issuer: Issuer
) -> None:
    """The slot of expiry is over: the certificates count no more, though no warmer has folded since."""
    await coverage.fold_counts(writer)
    await owner.execute("update certificate_counts set expires_slot = 1")
    assert await counted(reader) == {}
    await coverage.fold_counts(writer)
    assert await counted(reader) == {}
    assert [tuple(row) for row in await owner.fetch("select * from certificate_totals")] == [(issuer.issuer_id, 0)]


async def test_writers_and_folders_beside_each_other_lose_no_count(
    database: DatabaseURLs, reader: Connection, issuer: Issuer
) -> None:
    """Four writers and two warmers at once: in the end the count is right, and at no time is it below what it was."""

    async def write(number: int) -> None:
        async with connected(database.cli) as connection:
            for at in range(20):
                await add_certificates(connection, issuer.issuer_id, [certificate(1000 * number + at + 100)])

    async def fold() -> None:
        async with connected(database.warmer) as connection:
            while not done.is_set():
                await coverage.fold_counts(connection)

    done = asyncio.Event()
    folding = [asyncio.create_task(fold()) for _ in range(2)]
    writing = asyncio.gather(*(write(number) for number in range(1, 5)))
    before = 9
    while not writing.done():
        now = (await counted(reader))[issuer.issuer_id]
        assert now >= before
        before = now
    await writing
    done.set()
    await asyncio.gather(*folding)
    assert await counted(reader) == {issuer.issuer_id: 89}


async def test_rows_of_before_are_counted_by_the_migration(
    owner: asyncpg.Connection, tmp_path: Path, issuer: Issuer
) -> None:
    """An inventory of an earlier version is counted once, when the tables of the counts are made."""
    await owner.execute("drop view certificate_inventory, warmer_health")
    await owner.execute(
        "drop table certificate_counts, certificate_totals, certificate_count_changes, warmer_heartbeats"
    )
    await owner.execute("drop function certificates_counted, certificate_counts_fold, certificate_sample cascade")
    number = next(file.version for file in read_migrations() if file.name.endswith("_counts"))
    await owner.execute("delete from schema_migrations where version >= $1", number)
    for file in read_migrations():
        if file.version <= number:
            (tmp_path / f"{file.name}.sql").write_text(file.sql)
    assert len(await migrate(owner, tmp_path)) == 1
    assert await coverage.read_unexpired(owner) == {issuer.issuer_id: 9}


async def test_a_sample_draws_every_certificate_whatever_its_serial_number(
    writer: Connection, reader: Connection, issuer: Issuer
) -> None:
    """Serial numbers in a row, of one to three bytes: each length is drawn about as often as it occurs."""
    numbers = [*range(1, 256), *range(256, 1024), *range(65536, 68000)]
    await writer.execute(
        "insert into certificates (issuer_id, serial_number, not_before, not_after)"
        " select $1, unnest($2::bytea[]), now(), now() + interval '1 day'",
        issuer.issuer_id,
        [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in numbers],
    )
    drawn = [each for _ in range(5) for each in await inventory.draw_certificates(reader, 400)]
    share = sum(len(each.serial_number) == 3 for each in drawn) / len(drawn)
    assert len(drawn) > 1000
    assert abs(share - 2464 / (len(numbers) + 10)) < 0.1


async def test_pages_in_order_reach_every_certificate_of_each_issuer(
    writer: Connection, reader: Connection, issuer: Issuer
) -> None:
    """Two issuers, one without certificates: a page per issuer and call, from where the last one ended."""
    await add_issuer(writer, "empty", subject="CN=E", cert_der=b"the certificate of empty", actor="tests")
    seen: list[bytes] = []
    after = {issuer.issuer_id: b"", "empty": b""}
    while True:
        pages = await inventory.next_certificates(reader, after, 4)
        assert pages["empty"] == []
        seen += [each.serial_number for each in pages[issuer.issuer_id]]
        if len(pages[issuer.issuer_id]) < 4:
            break
        after[issuer.issuer_id] = pages[issuer.issuer_id][-1].serial_number
    assert seen == [serial(number) for number in range(10)]


async def test_heartbeats_are_read_by_edges_without_their_names(writer: Connection, reader: Connection) -> None:
    """The newest first; queue, failures and failing loops as written; no column has the name, which is a path."""
    beat = heartbeats.Heartbeat(warmer="host-/data", walked_at=NOW - YEAR, queue=3, missing=7, failing=("walk",))
    await heartbeats.write_heartbeat(writer, heartbeats.Heartbeat(warmer="host-/old"))
    await heartbeats.write_heartbeat(writer, beat)
    await heartbeats.write_heartbeat(writer, beat)
    [newest, _] = await inventory.read_warmers(reader)
    assert (newest.queue, newest.missing, newest.failing, newest.rotation_failures) == (3, 7, ["walk"], 0)
    assert newest.age_s < 60
    assert newest.walk_age_s is not None
    assert newest.walk_age_s > timedelta(days=300).total_seconds()
    [heard, _] = await heartbeats.read_heartbeats(writer)
    assert heard.heartbeat == beat
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.fetch("select warmer from warmer_heartbeats")
