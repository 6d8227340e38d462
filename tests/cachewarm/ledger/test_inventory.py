"""Issuers, the inventory's walk, responder certificates, CRL numbers, coverage, cursors."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Fatal, Refused, Transient
from cachewarm.ledger.connect import Connection, connect, connected, open_pool
from cachewarm.ledger.coverage import read_coverage, write_coverage
from cachewarm.ledger.crls import (
    CachedCRL,
    CRLBuild,
    crl_builds,
    crl_turn,
    log_crl_build,
    next_crl_number,
    raise_crl_number,
    read_crl,
    write_crl,
)
from cachewarm.ledger.feed import Cursor, read_cursor, write_cursor
from cachewarm.ledger.inventory import PAGE_QUERY, add_certificates, find_issuer_of, inventory_page, statuses
from cachewarm.ledger.issuers import Issuer, add_issuer, get_issuer, list_issuers, require_issuer
from cachewarm.ledger.responders import (
    NewResponderCert,
    add_responder_cert,
    drop_responder_certs,
    responder_certs,
    responder_key_path,
)
from cachewarm.ledger.revocations import revoke
from tests.cachewarm.ledger.conftest import NOW, YEAR, certificate, serial


async def test_an_issuer_is_added_once(writer: Connection, issuer: Issuer) -> None:
    """The id and the certificate are each taken; the refusal says which; unknown ids are told the known ones."""
    assert await get_issuer(writer, "ca") == issuer
    assert await list_issuers(writer) == [issuer]
    for issuer_id, cert_der, words in [
        ("ca", b"other", "there is an issuer ca"),
        ("cb", issuer.cert_der, "issuer ca's"),
        ("C A", b"x", "check"),
    ]:
        with pytest.raises(Refused, match=words):
            await add_issuer(writer, issuer_id, subject="CN=CA", cert_der=cert_der, actor="tests")
    with pytest.raises(Refused, match="there are: ca"):
        await require_issuer(writer, "none")


async def test_certificates_are_added_once(writer: Connection, issuer: Issuer) -> None:
    """A repeat adds nothing and says so; large lists go in chunks."""
    assert await add_certificates(writer, "ca", [certificate(number) for number in range(12_000)]) == 11_990
    assert await add_certificates(writer, "ca", [certificate(number) for number in range(12_000)]) == 0
    with pytest.raises(Refused):
        await add_certificates(writer, "none", [certificate(1)])


async def test_the_walk_visits_everything_once_in_order(writer: Connection, issuer: Issuer) -> None:
    """Pages of three over issued, revoked and never-seen revoked certificates, of this issuer alone."""
    await add_issuer(writer, "cb", subject="CN=CB", cert_der=b"cb", actor="tests")
    await add_certificates(writer, "cb", [certificate(3)])
    await revoke(writer, "ca", b"\x77", actor="tests", allow_unknown=True)
    await revoke(writer, "ca", serial(4), actor="tests")
    walked, after = [], b""
    while page := await inventory_page(writer, "ca", after, limit=3):
        walked += page
        after = page[-1].serial_number
    assert [row.serial_number for row in walked] == sorted([*map(serial, range(10)), b"\x77"])
    assert [row.serial_number for row in walked if row.not_after is None] == [b"\x77"]
    assert {row.not_after for row in walked[:9]} == {int((NOW + YEAR).timestamp())}


async def test_a_page_is_bounded_on_both_sides(writer: Connection, issuer: Issuer) -> None:
    """What is after the first serial, up to and including the last one."""
    page = await inventory_page(writer, "ca", serial(2), serial(5))
    assert [row.serial_number for row in page] == [serial(3), serial(4), serial(5)]


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_a_page_reads_neither_table_whole(
    owner: Connection, writer: Connection, issuer: Issuer, plans: str
) -> None:
    """With statistics of 30,000 certificates, a third of them revoked: both tables are read by their keys alone."""
    for table, columns in (
        ("certificates", "(issuer_id, serial_number, not_before, not_after) select 'ca', s, now(), now() + '1 day'"),
        ("certificate_revocations", "(issuer_id, serial_number) select 'ca', s"),
    ):
        await owner.execute(f"alter table {table} disable trigger user")
        await owner.execute(
            f"""insert into {table} {columns}
                  from (select '\\x5e'::bytea || substr(sha256(int8send(n)), 1, 15) s
                          from generate_series(1, {30_000 if table == "certificates" else 10_000}) n) made"""
        )
        await owner.execute(f"alter table {table} enable trigger user")
        await owner.execute(f"analyze {table}")
    await writer.execute(f"set plan_cache_mode = {plans}")
    await writer.execute(f"prepare page (text, bytea, bytea, bigint) as {PAGE_QUERY}")
    for arguments in ("'', ''", "'\\x5e80', '\\x5e84'", "'\\x5e80', '\\xff'"):
        rows = await writer.fetch(f"explain execute page ('ca', {arguments}, 2000)")
        plan = "\n".join(row[0] for row in rows)
        assert plan.count("Index") >= 2, plan
        assert "Seq Scan" not in plan, plan
        assert "Hash Join" not in plan, plan


async def test_the_signer_asks_as_reader(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """Issued ones are in the answer with their end and status, others are not."""
    await revoke(writer, "ca", serial(2), actor="tests")
    found = await statuses(reader, issuer.issuer_no, [serial(1), serial(2), b"\x77"])
    assert {octets: one.status for octets, one in found.items()} == {serial(1): "good", serial(2): "revoked"}
    assert found[serial(1)].not_after == NOW + YEAR
    assert await statuses(reader, 99, [serial(1)]) == {}


async def test_the_issuer_of_a_serial_number_is_found(writer: Connection, issuer: Issuer) -> None:
    """One: its id. None or two: a refusal that says so."""
    assert await find_issuer_of(writer, serial(1)) == "ca"
    with pytest.raises(Refused, match="no issuer"):
        await find_issuer_of(writer, b"\x77")
    await add_issuer(writer, "cb", subject="CN=CB", cert_der=b"cb", actor="tests")
    await add_certificates(writer, "cb", [certificate(1)])
    with pytest.raises(Refused, match="ca and cb"):
        await find_issuer_of(writer, serial(1))


async def test_responder_certificates(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """The reader sees the newest first and not where the key is."""
    for number, ends in [(1, 1), (2, 30)]:
        await add_responder_cert(
            writer,
            "ca",
            NewResponderCert(
                cert_subject="CN=OCSP",
                serial_number=serial(number),
                not_before=NOW,
                not_after=NOW + timedelta(days=ends),
                cert_der=b"der",
                key_path="/keys/k",
            ),
            actor="tests",
        )
    assert [one.serial_number for one in await responder_certs(reader, "ca")] == [serial(2), serial(1)]
    assert await responder_key_path(writer, "ca", serial(2)) == "/keys/k"
    with pytest.raises(Refused, match="permission"):
        await responder_key_path(reader, "ca", serial(2))
    assert await drop_responder_certs(writer, "ca", NOW + timedelta(days=2)) == 1
    assert [one.serial_number for one in await responder_certs(writer)] == [serial(2)]


def build_of(*, error: str | None, duration_ms: int, crl_number: int | None, revoked_count: int | None) -> CRLBuild:
    """An event of a build."""
    return CRLBuild(
        issuer_id="ca",
        started_at=NOW,
        succeeded=error is None,
        error=error,
        duration_ms=duration_ms,
        crl_number=crl_number,
        revoked_count=revoked_count,
    )


def crl(number: int) -> CachedCRL:
    """A CRL of that number."""
    return CachedCRL(
        issuer_id="ca",
        crl_number=number,
        crl_der=b"crl",
        this_update=NOW,
        next_update=NOW + timedelta(days=1),
        generated_at=NOW,
        generation_duration_ms=12,
        revoked_count=0,
    )


async def test_crl_numbers_only_grow(database: DatabaseURLs, writer: Connection, issuer: Issuer) -> None:
    """Eight at once get eight numbers; cache, log and a raise each lift them."""
    connections = [await connect(database.cli) for _ in range(8)]
    numbers = await asyncio.gather(*(next_crl_number(one, "ca") for one in connections))
    assert sorted(numbers) == list(range(1, 9))
    for connection in connections:
        await connection.close()
    assert await write_crl(writer, crl(20))
    assert await next_crl_number(writer, "ca") == 21
    await log_crl_build(
        writer,
        CRLBuild(
            issuer_id="ca", started_at=NOW, succeeded=True, error=None, duration_ms=1, crl_number=30, revoked_count=0
        ),
    )
    assert await next_crl_number(writer, "ca") == 31
    assert await raise_crl_number(writer, "ca", 7) == 31
    assert await raise_crl_number(writer, "ca", 2**158) == 2**158
    assert await next_crl_number(writer, "ca") == 2**158 + 1
    with pytest.raises(Refused):
        await raise_crl_number(writer, "ca", 2**159)


async def test_a_crl_never_goes_back(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """A slower builder's lower number stays out; builds are logged, failures too."""
    assert await write_crl(writer, crl(2))
    assert not await write_crl(writer, crl(1))
    assert not await write_crl(writer, crl(2))
    assert await read_crl(reader, "ca") == crl(2)
    assert await read_crl(reader, "none") is None
    failed = CRLBuild(
        issuer_id="ca",
        started_at=NOW,
        succeeded=False,
        error="no key",
        duration_ms=3,
        crl_number=None,
        revoked_count=None,
    )
    await log_crl_build(writer, failed)
    assert await crl_builds(writer, "ca") == [failed]


async def test_one_builder_per_issuer(database: DatabaseURLs, writer: Connection, issuer: Issuer) -> None:
    """The second one is told so, and gets its turn once the first is done."""
    other = await connect(database.cli)
    async with crl_turn(writer, "ca") as ours, crl_turn(other, "ca") as theirs, crl_turn(other, "cb") as another:
        assert (ours, theirs, another) == (True, False, True)
    async with crl_turn(other, "ca") as theirs:
        assert theirs
    await other.close()


async def test_coverage_and_cursors_are_remembered(reader: Connection, writer: Connection, issuer: Issuer) -> None:
    """The last one written is read."""
    for covered in (1, 9):
        await write_coverage(writer, {"ca": (10, covered)})
        await write_cursor(writer, "warm", Cursor(1, covered))
    assert [(row.issuer_id, row.inventory, row.covered) for row in await read_coverage(reader)] == [("ca", 10, 9)]
    assert await read_cursor(writer, "warm") == Cursor(1, 9)
    assert await read_cursor(writer, "none") is None


async def test_an_unreachable_database_is_transient_a_wrong_password_is_not(database: DatabaseURLs) -> None:
    """Nobody there: try again. Not let in: a person has to look."""
    with pytest.raises(Transient):
        await connect("postgresql://u:p@127.0.0.1:1/none", timeout_s=1)
    with pytest.raises(Fatal, match="password"):
        await connect(database.cli.replace("fastocsp_cli:", "fastocsp_cli:x"))
    with pytest.raises(Refused, match="permission"):
        async with connected(database.signer) as connection:
            await connection.execute("select * from audit_events")


async def test_a_pool_hands_out_connections_with_our_limits(postgres: EmbeddedPostgres, database: DatabaseURLs) -> None:
    """Every one has the time-outs, not the first alone; a schema that is not there is found before the pool is."""
    pool = await open_pool(database.cli, size=3)
    async with pool.acquire() as one, pool.acquire() as two:
        assert [await each.fetchval("show lock_timeout") for each in (one, two)] == ["10s", "10s"]
    await pool.close()
    with pytest.raises(Fatal, match="db migrate"):
        await open_pool(postgres.url("owner", "postgres"))


async def test_certificate_of_a_responder_does_not_keep_its_issuer_from_being_removed(
    owner: Connection, writer: Connection
) -> None:
    """Each issuer that signs through a responder has one: only --force would remove it."""
    await add_issuer(writer, "own", subject="CN=own", cert_der=b"of own", actor="tests")
    await add_certificates(writer, "own", [certificate(1), certificate(2)])
    await owner.execute(
        """insert into ocsp_responder_certs
               (issuer_id, serial_number, cert_der, cert_subject, key_path, not_before, not_after)
             select issuer_id, serial_number, '\\x00', subject, '/keys/own', not_before, not_after from certificates
              where serial_number = $1""",
        serial(1),
    )
    with pytest.raises(asyncpg.RestrictViolationError, match="own has 1 certificates"):
        await writer.fetchval("select issuer_remove('own', false, 'tests')")
    await revoke(writer, "own", serial(2), actor="tests")
    assert await writer.fetchval("select issuer_remove('own', false, 'tests')") == "active"
