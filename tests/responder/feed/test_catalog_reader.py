"""An idle edge reads nothing per issuer, and an incremental reading takes notice of every kind of change."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.ca.authority import init_root
from cachewarm.ca.certificate import parse_subject
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.keys.soft_key import KeyKind, SoftKey
from responder.clock import read_clock
from responder.domain import issuer as domain_issuer
from responder.domain.catalog import Catalog, dump_catalog, load_catalog
from responder.domain.certificate import CertificateFacts, read_facts
from responder.feed.catalog import read_ledger
from responder.feed.catalog_reader import LATE_S, VERIFY_S
from responder.feed.crl_files import CRLFiles
from tests.support.ca import Authority, der, make_authority
from tests.support.catalog_edge import Counted, Edge

_RESPONDER = """insert into ocsp_responder_certs
    (issuer_id, cert_subject, serial_number, not_before, not_after, cert_der)
    select issuer_id, 'CN=R', '\\x01', now() - interval '1 day', now() + interval '1 day', $1 from issuers"""
#: By what it changes: a statement, and what the catalog then has of ca-00001.
CHANGES: dict[str, tuple[str, Callable[[Catalog], object]]] = {
    "issuer": (
        "update issuers set ocsp_url = 'http://x' where issuer_id = 'ca-00001'",
        lambda catalog: catalog.by_id["ca-00001"].ocsp_url,
    ),
    "responder removed": (
        "delete from ocsp_responder_certs where issuer_id = 'ca-00001'",
        lambda catalog: len(catalog.responders.get(1, ())),
    ),
    "responder moved": (
        "update ocsp_responder_certs set issuer_id = 'ca-00001', serial_number = '\\x02' where issuer_id = 'ca-00002'",
        lambda catalog: (len(catalog.responders.get(1, ())), len(catalog.responders.get(2, ()))),
    ),
    "responders emptied": ("truncate ocsp_responder_certs", lambda catalog: len(catalog.responders)),
    "mirror window": (
        "insert into crl_mirrors (issuer_id, good_from, good_until, generation, seq)"
        " values ('ca-00001', now(), now() + interval '1 hour', 1, 1)",
        lambda catalog: catalog.by_id["ca-00001"].windows,
    ),
    "failed build": (
        "insert into crl_generation_events (issuer_id, started_at, succeeded) values ('ca-00001', now(), false)",
        lambda catalog: catalog.crl_failures["ca-00001"],
    ),
    "failed build corrected": (
        "update crl_generation_events set succeeded = true",
        lambda catalog: catalog.crl_failures["ca-00001"],
    ),
    "failed fetch": (
        """insert into crl_generation_events (issuer_id, started_at, succeeded, kind, fault)
             values ('ca-00001', now(), false, 'mirror', 'unreachable')""",
        lambda catalog: catalog.fetch_failures.get("ca-00001"),
    ),
    "fault": (
        "insert into issuer_faults (issuer_id, work, fault) values ('ca-00001', 'walk', 'x')",
        lambda catalog: catalog.issuer_faults.get("ca-00001"),
    ),
    "fault gone": ("delete from issuer_faults", lambda catalog: catalog.issuer_faults.get("ca-00001")),
    "orphan": (
        "insert into orphans (issuer_id, serial_number, revoked_at, reason) values ('ca-00001', '\\x05', now(), 1)",
        lambda catalog: catalog.orphans.get("ca-00001"),
    ),
    "alias": (
        "update issuers set merged_into = 'ca-00002' where issuer_id = 'ca-00003'",
        lambda catalog: (catalog.aliases.get("ca-00003"), "ca-00003" in {each.issuer_id for each in catalog.issuers}),
    ),
}


async def enter(owner: Any, count: int) -> None:
    """Enter so many issuers with a responder each: one certificate, whose name is changed in place."""
    root = init_root(SoftKey.generate(KeyKind.P256), parse_subject("CN=CA 00000"), now=read_clock().wall_s)
    numbers = range(1, count + 1)
    rows = [(f"ca-{each:05d}", root.cert_der.replace(b"CA 00000", f"CA {each:05d}".encode())) for each in numbers]
    await owner.executemany("insert into issuers (issuer_id, subject, cert_der) values ($1, $1, $2)", rows)
    await owner.execute(_RESPONDER, der(make_authority().delegate))


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Any]:
    """Of the tables: whoever uses plain SQL."""
    connection = await asyncpg.connect(database.owner)
    yield connection
    await connection.close()


@pytest.fixture
async def edge(database: DatabaseURLs, tmp_path: Path) -> AsyncIterator[Edge]:
    """Of the reader role."""
    connection = await asyncpg.connect(database.signer)
    yield Edge(connection, tmp_path)
    await connection.close()


async def test_look_of_an_idle_edge_reads_no_issuer_and_parses_none(
    owner: Any, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row, whatever the number of issuers; after a change those of the issuer; to verify all, unparsed."""
    await enter(owner, 200)
    parses: list[bytes] = []

    def counted(cert_der: bytes) -> CertificateFacts:
        parses.append(cert_der)
        return read_facts(cert_der)

    monkeypatch.setattr(domain_issuer, "read_facts", counted)
    assert await edge.look() > 400
    assert (len(edge.catalog.issuers), len(edge.catalog.responders), len(parses)) == (200, 200, 200)
    before = edge.catalog
    assert [await edge.look() for _ in range(3)] == [1, 1, 1]
    assert edge.catalog is before
    await owner.execute("update issuers set ca_issuers_url = 'http://x' where issuer_id = 'ca-00150'")
    assert await edge.look() < 10
    assert edge.catalog.by_id["ca-00150"].ca_issuers_url == "http://x"
    assert await edge.look() == 1
    before = edge.catalog
    for edge.late_s in (VERIFY_S, VERIFY_S + LATE_S):
        assert await edge.look() > 400
    assert edge.catalog is before
    loaded = load_catalog(dump_catalog(before), before)
    assert all(new is old for new, old in zip(loaded.issuers, before.issuers, strict=True))
    first = before.issuers[0]
    assert before.templates_of(first) is before.templates_of(first)
    assert load_catalog(dump_catalog(before), before).templates_of(first) is before.templates_of(first)
    assert len(parses) == 200


@pytest.mark.parametrize("is_emptied", [False, True])
async def test_look_takes_notice_of_every_kind_of_change(
    owner: Any, edge: Edge, tmp_path: Path, is_emptied: bool
) -> None:
    """As a reading of everything would; what one look reads is not read by the next."""
    await enter(owner, 3)
    await edge.look()
    for kind, (statement, shown) in CHANGES.items():
        if ("emptied" in kind) != is_emptied:
            continue
        before = shown(edge.catalog)
        await owner.execute(statement)
        await edge.look()
        assert shown(edge.catalog) != before, kind
        seen = edge.catalog
        assert await read_ledger(edge.connection, CRLFiles(tmp_path), Catalog()) == seen, kind  # type: ignore[arg-type]
        await edge.look()
        assert edge.catalog is seen, kind


async def test_look_drops_a_responder_that_expired(owner: Any, edge: Edge) -> None:
    """No row changes then."""
    await enter(owner, 2)
    await owner.execute(
        "update ocsp_responder_certs set not_after = now() + interval '1 second' where issuer_id = 'ca-00001'"
    )
    await edge.look()
    seen = set(edge.catalog.responders)
    async with asyncio.timeout(10):
        while 1 in edge.catalog.responders:
            await edge.look()
            await owner.execute("select pg_sleep(0.05)")
    assert seen == {1, 2}
    assert set(edge.catalog.responders) == {2}


async def test_look_takes_notice_of_a_transaction_that_commits_late(
    owner: Any, edge: Edge, database: DatabaseURLs
) -> None:
    """It began before, and later ones were read meanwhile."""
    await enter(owner, 2)
    late = await asyncpg.connect(database.owner)
    try:
        await edge.look()
        transaction = late.transaction()
        await transaction.start()
        await late.execute("update issuers set ocsp_url = 'http://late' where issuer_id = 'ca-00001'")
        await owner.execute("update issuers set ocsp_url = 'http://soon' where issuer_id = 'ca-00002'")
        await edge.look()
        assert [each.ocsp_url for each in edge.catalog.issuers] == [None, "http://soon"]
        await transaction.commit()
        await edge.look()
        assert [each.ocsp_url for each in edge.catalog.issuers] == ["http://late", "http://soon"]
    finally:
        await late.close()


async def test_look_takes_notice_of_changes_where_a_dump_was_restored(owner: Any, edge: Edge) -> None:
    """Its log has transactions whose numbers this server comes to only now."""
    await enter(owner, 1)
    await owner.execute(
        """insert into issuer_changes (entered, about, issuer_id)
             select (pg_current_xact_id()::text::int8 + n)::text::xid8, 'issuer', 'ca-00001'
               from generate_series(1, 50) n"""
    )
    await edge.look()
    for number in range(8):
        await edge.look()
        await owner.execute("update issuers set ocsp_url = $1 where issuer_id = 'ca-00001'", f"http://{number}")
        await edge.look()
        assert edge.catalog.by_id["ca-00001"].ocsp_url == f"http://{number}"


async def test_new_connection_reads_everything(owner: Any, edge: Edge, database: DatabaseURLs) -> None:
    """What was written with triggers off while the edge was away is not missed."""
    await enter(owner, 2)
    await edge.look()
    await owner.execute("alter table issuers disable trigger all")
    await owner.execute("update issuers set ocsp_url = 'http://x' where issuer_id = 'ca-00001'")
    await owner.execute("alter table issuers enable trigger all")
    another = await asyncpg.connect(database.signer)
    try:
        edge.connection = Counted(another)
        await edge.look()
        assert edge.catalog.by_id["ca-00001"].ocsp_url == "http://x"
    finally:
        await another.close()


async def publish(owner: Any, authority: Authority, number: int, seconds: float) -> None:
    """Publish an empty CRL of the issuer `ca` that holds for so long."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(authority.delegate.subject, now, now + timedelta(0, seconds))
    signed = builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)
    await owner.execute(
        """insert into crl_cache (issuer_id, crl_number, crl_der, this_update, next_update, revoked_count)
             values ('ca', $1::int, $2, now(), now() + $3::float8 * interval '1 second', 0)
             on conflict (issuer_id) do update set crl_number = excluded.crl_number, crl_der = excluded.crl_der""",
        number,
        signed,
        seconds,
    )


@pytest.fixture
async def authority(owner: Any) -> Authority:
    """Return the CA of the issuer `ca`, the only one in the ledger."""
    made = make_authority()
    await owner.execute(
        "insert into issuers (issuer_id, subject, cert_der) values ('ca', 'CN=CA', $1)", der(made.delegate)
    )
    return made


async def test_look_follows_the_crls_of_an_issuer(owner: Any, edge: Edge, authority: Authority) -> None:
    """A new number, and a lower number once the CRL before has expired; until then it is looked at."""
    await edge.look()
    await publish(owner, authority, 5, 3600)
    await edge.look()
    assert edge.catalog.crls["ca"].number == 5
    await publish(owner, authority, 6, 1)
    await edge.look()
    assert edge.catalog.crls["ca"].number == 6
    await publish(owner, authority, 4, 3600)
    await edge.look()
    assert edge.catalog.crls["ca"].number == 6
    async with asyncio.timeout(10):
        while edge.catalog.crls["ca"].number == 6:
            await edge.look()
            await owner.execute("select pg_sleep(0.05)")
    assert edge.catalog.crls["ca"].number == 4
    assert await edge.look() == 1


async def test_look_after_a_failed_one_takes_the_crl_that_was_fetched_already(
    owner: Any, edge: Edge, authority: Authority
) -> None:
    """The look fails after it fetched the CRL: the next one must not believe that this CRL is the served one."""
    await publish(owner, authority, 5, 3600)
    await edge.look()
    await publish(owner, authority, 6, 3600)
    edge.connection.fails_at = "from feed_orphans"
    with pytest.raises(ConnectionResetError):
        await edge.look()
    assert edge.catalog.crls["ca"].number == 5
    edge.connection.fails_at = None
    await edge.look()
    assert edge.catalog.crls["ca"].number == 6


async def test_removed_issuer_leaves_the_catalog_and_comes_back(owner: Any, edge: Edge, authority: Authority) -> None:
    """Its CRL goes with it; nothing of it is lost."""
    await publish(owner, authority, 5, 3600)
    await edge.look()
    assert (edge.catalog.crls["ca"].number, "ca" in edge.catalog.by_id) == (5, True)
    await owner.execute("select issuer_remove('ca', false, 'tests')")
    await edge.look()
    assert ("ca" in edge.catalog.crls, "ca" in edge.catalog.by_id) == (False, False)
    await owner.execute("select issuer_restore('ca', 'tests')")
    await edge.look()
    assert (edge.catalog.crls["ca"].number, "ca" in edge.catalog.by_id) == (5, True)
