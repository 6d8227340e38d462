"""One issuer per name and key, whatever its certificates are; what a migration makes of two."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from cachewarm.ca.authority import init_root
from cachewarm.ca.certificate import epoch, parse_subject
from cachewarm.embedded.postgres import EmbeddedPostgres
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.feed import begin_generation
from cachewarm.ledger.fences import open_fences
from cachewarm.ledger.issuers import (
    add_issuer,
    add_issuer_certificate,
    get_issuer,
    issuer_certificates,
    issuer_of_certificate,
    list_issuers,
    merged_issuers,
)
from cachewarm.ledger.migrate import migrate, read_migrations
from responder.domain.catalog import Catalog, dump_catalog, load_catalog
from responder.feed.catalog import read_issuers, read_ledger
from responder.feed.crl_files import CRLFiles

DAY = 86400
NOW = int(datetime.now(UTC).timestamp())


def certificates(kind: KeyKind = KeyKind.P256, subject: str = "CN=Twice,O=Example") -> tuple[bytes, bytes]:
    """Two certificates of one CA: the first ends in a day, its renewal in a year."""
    key = SoftKey.generate(kind)
    old, new = (init_root(key, parse_subject(subject), now=NOW, validity_s=days * DAY).cert_der for days in (1, 365))
    return old, new


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA2048, KeyKind.ED25519])
async def test_a_second_issuer_of_one_name_and_key_is_refused_by_every_path(writer: Connection, kind: KeyKind) -> None:
    """Plain SQL included; the sentence of the command names the issuer and the way."""
    old, new = certificates(kind)
    await add_issuer(writer, "a", subject="CN=Twice", cert_der=old, actor="tests")
    with pytest.raises(Refused, match="issuer add-cert a"):
        await add_issuer(writer, "b", subject="CN=Twice", cert_der=new, actor="tests")
    with pytest.raises(asyncpg.UniqueViolationError, match="issuers_identity"):
        await writer.execute("insert into issuers (issuer_id, subject, cert_der) values ('b', 'x', $1)", new)
    other_name = certificates(kind, "CN=Other,O=Example")[0]
    assert (await add_issuer(writer, "c", subject="CN=Other", cert_der=other_name, actor="tests")).issuer_id == "c"


@pytest.mark.parametrize("first", [0, 1])
async def test_another_certificate_counts_when_it_lasts_longer(writer: Connection, first: int) -> None:
    """The row has the one that lasts longest, whichever came first; the issuer is found by either."""
    pair = certificates()
    await add_issuer(writer, "a", subject="CN=Twice", cert_der=pair[first], actor="tests")
    for _ in range(2):
        issuer = await add_issuer_certificate(writer, "a", pair[1 - first], actor="tests")
        assert issuer.cert_der == pair[1]
    assert await issuer_certificates(writer, "a") == [pair[1], pair[0]]
    for cert_der in pair:
        found = await issuer_of_certificate(writer, cert_der)
        assert found is not None
        assert found.issuer_id == "a"


async def test_a_certificate_of_another_key_or_name_is_no_certificate_of_the_issuer(writer: Connection) -> None:
    """Another key is another issuer."""
    await add_issuer(writer, "a", subject="CN=Twice", cert_der=certificates()[0], actor="tests")
    for other in (certificates()[1], certificates(subject="CN=Other")[1]):
        with pytest.raises(Refused, match="another name or another key"):
            await add_issuer_certificate(writer, "a", other, actor="tests")
        with pytest.raises(asyncpg.PostgresError, match="never change"):
            await writer.execute("update issuers set cert_der = $1", other)


async def test_the_end_of_a_certificate_is_read_from_its_der(writer: Connection) -> None:
    """UTCTime before 2050 and GeneralizedTime after it; null where it is no certificate."""
    key = SoftKey.generate(KeyKind.P256)
    for years in (1, 40):
        made = init_root(key, parse_subject("CN=X"), now=NOW, validity_s=years * 365 * DAY)
        found = await writer.fetchval("select certificate_not_after($1)", made.cert_der)
        assert epoch(found) == made.not_after
    assert await writer.fetchval("select certificate_not_after('\\x3003')") is None


@pytest.fixture
async def before(postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[asyncpg.Connection]:
    """A database of the version before, as its owner."""
    admin = await asyncpg.connect(postgres.url("owner", "postgres"))
    await admin.execute("create database before template template0")
    for file in read_migrations():
        if file.version <= 13:
            (tmp_path / f"{file.name}.sql").write_text(file.sql)
    connection = await asyncpg.connect(postgres.url("owner", "before"))
    await migrate(connection, tmp_path)
    yield connection
    await connection.close()
    await admin.execute("drop database before with (force)")
    await admin.close()


async def test_the_migration_merges_two_issuers_of_one_name_and_key(before: asyncpg.Connection, tmp_path: Path) -> None:
    """The first id stays, with the certificates, the revocations and the highest CRL number of both."""
    old, new = certificates()
    add = "insert into issuers (issuer_id, subject, cert_der) values ($1, 'CN=Twice', $2)"
    for issuer_id, cert_der in (("z", old), ("b", new)):
        await before.execute(add, issuer_id, cert_der)
        await before.execute("select raise_crl_number($1, $2)", issuer_id, 5 if issuer_id == "z" else 9)
    await before.execute(
        """insert into certificates (issuer_id, serial_number, not_before, not_after)
           select issuer_id, serial, now(), now() + interval '1 year'
             from issuers, unnest(array['\\x01', '\\x02']::bytea[]) serial"""
    )
    revoke = "insert into certificate_revocations (issuer_id, serial_number, reason) values ($1, $2, $3)"
    for issuer_id, serial, reason in (("z", b"\1", 6), ("b", b"\1", 4), ("b", b"\2", 1), ("b", b"\3", 5)):
        await before.execute(revoke, issuer_id, serial, reason)
    await before.execute("update issuers set crl_source = 'file:///crl' where issuer_id = 'b'")
    await before.execute(
        """insert into ocsp_responder_certs (issuer_id, cert_subject, serial_number, not_before, not_after, cert_der)
           select issuer_id, 'CN=OCSP', '\\x09', now(), now() + interval '1 day', issuer_id::bytea from issuers"""
    )
    position = await before.fetchval("select seq from feed_head")
    assert await migrate(before) != []
    assert await merged_issuers(before) == {"b": "z"}
    issuers = await list_issuers(before)
    assert [(each.issuer_id, each.cert_der) for each in issuers] == [("z", new)]
    rows = await before.fetch("select serial_number, reason from certificate_revocations where issuer_id = 'z'")
    assert {row["serial_number"]: row["reason"] for row in rows} == {b"\1": 4, b"\2": 1, b"\3": 5}
    assert await before.fetchval("select last from crl_numbers where issuer_id = 'z'") == 9
    assert await before.fetchval("select seq from feed_head") > position
    assert issuers[0].crl_source == "file:///crl"
    assert await before.fetchval("select array_agg(issuer_id) from ocsp_responder_certs") == ["z"]
    catalog = await read_issuers(before)
    whole = await read_ledger(before, CRLFiles(tmp_path), Catalog())
    assert whole.aliases == {"b": "z"}
    assert whole.by_id["b"] is whole.by_id["z"]
    assert load_catalog(dump_catalog(whole)).aliases == whole.aliases
    assert [(each.issuer_id, each.cert_der) for each in catalog] == [("z", new)]
    assert await issuer_certificates(before, "z") == [new, old]
    other_name = await get_issuer(before, "b")
    assert other_name is not None
    assert other_name.issuer_id == "z"
    await before.execute(revoke, "b", b"\4", 1)
    assert await before.fetchval("select issuer_id from certificate_revocations where serial_number = '\\x04'") == "z"
    assert await before.fetchval("select audit_verify()") is None
    assert await before.fetchval("select count(*) from audit_events where action = 'merge'") == 1
    assert timedelta(0) < await before.fetchval("select max(not_after) - now() from issuer_certificates")


async def test_merged_issuer_is_not_fenced(before: asyncpg.Connection) -> None:
    """Evidence goes to the issuer that answers: the fence of its twin would stay, and so would the alarm."""
    for issuer_id, cert_der in zip(("z", "b"), certificates(), strict=True):
        await before.execute(
            "insert into issuers (issuer_id, subject, cert_der) values ($1, 'CN=Twice', $2)", issuer_id, cert_der
        )
    await migrate(before)
    await begin_generation(before)
    assert [fence.issuer_id for fence in await open_fences(before)] == ["z"]
    assert await before.fetchval("select issuers_are_fenced()")


async def test_issuer_with_shards_and_an_empty_url_can_be_frozen_after_the_migration(
    before: asyncpg.Connection,
) -> None:
    """Its CRL URL may not become null; the other URLs do, and its row may change."""
    await before.execute(
        """insert into issuers (issuer_id, subject, cert_der, crl_url, ocsp_url, crl_shards)
             values ('a', 'CN=Twice', $1, '', '', 2)""",
        certificates()[0],
    )
    await migrate(before)
    await before.execute("select issuer_set_state('a', 'frozen', 'tests')")
    rows = await before.fetch("select state, crl_url, ocsp_url from issuers")
    assert [tuple(row) for row in rows] == [("frozen", "", None)]
