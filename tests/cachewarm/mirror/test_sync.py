"""What a mirrored CRL does to the revoked set, to the CRL that is served, to the feed and to the audit chain."""

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import crl as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from _fastocsp.revoked.ledger_wire import parse_items
from cachewarm.crl.rules import Rule
from cachewarm.errors import Transient
from cachewarm.ledger.audit import list_audit, verify_audit
from cachewarm.ledger.connect import connect
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.mirror_import import ACTOR
from cachewarm.ledger.mirrors import Mirror
from cachewarm.ledger.revocations import revoke
from cachewarm.mirror.faults import NotMirrored, SourceFault
from cachewarm.mirror.sync import SyncContext, sync
from responder.domain.catalog import Catalog, dump_catalog, load_catalog
from responder.domain.status import CRLReason
from responder.feed.catalog import read_ledger
from responder.feed.crl_files import CRLFiles, forget_files
from tests.cachewarm.mirror.conftest import Mirrored
from tests.support.foreign_ca import HOLD, REMOVED, REVOKED_AT, STOLEN, Answer, ForeignCA

NOW = datetime.now(UTC)
SUPERSEDED = x509.ReasonFlags.superseded


async def test_entries_become_revocations_and_the_crl_is_served_as_it_is(mirrored: Mirrored) -> None:
    """Byte for byte; serial, time and reason in ledger and feed; a window from thisUpdate to nextUpdate."""
    der = mirrored.ca.crl(7, {5: STOLEN, 6: None, 2**159 - 1: HOLD})
    mirrored.source.put(der)
    brought = await mirrored.bring()
    assert brought.complete is not None
    assert (brought.crl_number, brought.complete.entries, brought.complete.revoked) == (7, 3, 3)
    assert await mirrored.rows() == {5: (1, ACTOR), 6: (0, ACTOR), 2**159 - 1: (6, ACTOR)}
    assert await mirrored.served() == der
    (payload,) = [row["payload"] for row in await mirrored.connection.fetch("select payload from revocation_events")]
    heard = {item[2]: item[3:] for item in parse_items(payload)}
    assert heard[b"\x05"] == (int(REVOKED_AT.timestamp()), 1)
    parsed = x509.load_der_x509_crl(der)
    mirror = await mirrored.mirror()
    assert (mirror.good_from, mirror.good_until) == (parsed.last_update_utc, parsed.next_update_utc)


async def test_the_next_crl_touches_only_what_differs(mirrored: Mirrored) -> None:
    """New ones come, a changed reason changes, the rest is not written again."""
    await mirrored.publish(1, {5: None, 6: None, 7: None})
    before = await mirrored.connection.fetchval("select seq from feed_head")
    brought = await mirrored.publish(2, {5: None, 6: STOLEN, 7: None, 8: None})
    assert brought.complete is not None
    assert (brought.complete.revoked, brought.complete.released) == (2, 0)
    assert (await mirrored.rows())[6] == (1, ACTOR)
    events = await mirrored.connection.fetch("select payload from revocation_events where seq > $1", before)
    assert {item[2] for row in events for item in parse_items(row["payload"])} == {b"\x06", b"\x08"}


async def test_a_revocation_becomes_a_hold_for_no_crl(mirrored: Mirrored) -> None:
    """That would be the way to undo it."""
    await mirrored.publish(1, {5: STOLEN})
    await mirrored.publish(2, {5: HOLD})
    assert (await mirrored.rows())[5] == (1, ACTOR)
    await mirrored.publish(3, {})
    assert (await mirrored.rows())[5] == (1, ACTOR)


async def test_who_vanishes_is_released_only_as_rfc_5280_allows(mirrored: Mirrored) -> None:
    """A hold goes, an ended certificate goes; a live one and an unknown one stay, and are counted."""
    ended, live, unknown, hold = 1, 2, 3, 4
    for number, ends in ((ended, timedelta(days=-1)), (live, timedelta(days=9))):
        one = NewCertificate(serial_number=bytes((number,)), not_before=NOW - timedelta(days=99), not_after=NOW + ends)
        await add_certificates(mirrored.connection, "foreign", [one])
    await mirrored.publish(1, {ended: None, live: None, unknown: None, hold: HOLD})
    brought = await mirrored.publish(2, {})
    assert brought.complete is not None
    done = brought.complete
    assert (done.released, done.purged, done.kept_live, done.kept_unknown) == (1, 1, 1, 1)
    assert set(await mirrored.rows()) == {live, unknown}
    assert (await mirrored.mirror()).kept_live == 1


async def test_what_was_revoked_here_stays(mirrored: Mirrored) -> None:
    """A hold of our own operator is not released because the CA does not know of it."""
    await mirrored.publish(1, {5: None})
    await revoke(
        mirrored.connection,
        "foreign",
        b"\x09",
        reason=CRLReason.certificateHold,
        actor="boss",
        allow_unknown=True,
    )
    await mirrored.publish(2, {5: None})
    assert (await mirrored.rows())[9] == (6, "boss")


async def test_deltas_add_and_remove(mirrored: Mirrored) -> None:
    """From where the complete CRL says they are: new entries come, a lifted hold goes, the delta is served on."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(mirrored.source.url("/delta"))], None, None, None)
    freshest = ((x509.FreshestCRL([point]), False),)
    mirrored.source.put(mirrored.ca.crl(5, {1: HOLD, 2: None}, more=freshest))
    delta = mirrored.ca.crl(6, {1: REMOVED, 2: REMOVED, 3: STOLEN}, base=4, begins=-30)
    mirrored.source.put(delta, "/delta")
    brought = await mirrored.bring()
    assert brought.delta is not None
    assert (brought.delta_number, brought.delta.revoked, brought.delta.released) == (6, 1, 1)
    assert set(await mirrored.rows()) == {2, 3}
    assert await mirrored.connection.fetchval("select crl_der from crl_parts where part = 'delta'") == delta
    mirror = await mirrored.mirror()
    assert mirror.good_from == x509.load_der_x509_crl(delta).last_update_utc
    mirrored.source.put(mirrored.ca.crl(7, {2: None, 3: STOLEN}, more=freshest, begins=-10))
    mirrored.source.put(mirrored.ca.crl(7, {3: STOLEN}, base=5, begins=-10), "/delta")
    assert (await mirrored.bring()).crl_number == 7
    assert await mirrored.connection.fetchval("select count(*) from crl_parts where crl_number < 7") == 0


@pytest.mark.parametrize(("number", "base", "fault"), [(9, 6, Rule.BASE), (4, 3, Rule.NUMBER), (9, None, Rule.BASE)])
async def test_a_delta_that_does_not_fit_changes_nothing(
    mirrored: Mirrored, number: int, base: int | None, fault: Rule
) -> None:
    """Based on a CRL that is not here yet, older than the one that is, or no delta at all."""
    await mirrored.connection.execute("update issuers set delta_source = $1", mirrored.source.url("/delta"))
    mirrored.source.put(mirrored.ca.crl(5, {1: HOLD}))
    mirrored.source.put(mirrored.ca.crl(number, {2: None}, base=base, begins=-30), "/delta")
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is fault
    assert set(await mirrored.rows()) == {1}


async def test_many_entries_make_few_audit_rows_and_the_chain_holds(mirrored: Mirrored) -> None:
    """A statement's worth is one row that names the CRL; a few entries are a row each, as ever."""
    many = dict.fromkeys(range(1, 6002))
    await mirrored.publish(1, many)
    rows = [row for row in await list_audit(mirrored.connection, issuer_id="foreign") if row.action != "issuer"]
    assert sorted((row.action, row.detail["entries"]) for row in rows) == [("mirror", 1001), ("mirror", 5000)]
    assert {row.detail["crl_number"] for row in rows} == {1}
    await mirrored.publish(2, many | {9000: None})
    (last, *_) = await list_audit(mirrored.connection, issuer_id="foreign")
    assert (last.action, last.actor, last.serial_number) == ("revoke", ACTOR, (9000).to_bytes(2))
    assert (await verify_audit(mirrored.connection)).broken_at is None


async def test_a_large_revocation_by_anybody_else_is_still_audited_one_by_one(mirrored: Mirrored) -> None:
    """Only mirror_revoke is summed up."""
    await mirrored.connection.execute(
        """insert into certificate_revocations (issuer_id, serial_number)
           select 'foreign', int4send(n) from generate_series(16777216, 16777216 + 1500) n"""
    )
    assert await mirrored.connection.fetchval("select count(*) from audit_events where action = 'revoke'") == 1501


def without_try(mirror: Mirror) -> Mirror:
    """Without the attempt itself, which is noted before it begins."""
    return replace(mirror, tried_at=None, failures=0)


async def test_a_killed_import_leaves_the_old_state(mirrored: Mirrored) -> None:
    """The backend is ended in the middle of it: rows, CRL, window, feed are those of before; the next look does it."""
    await mirrored.publish(1, {1: None})
    before = await mirrored.rows(), await mirrored.served(), without_try(await mirrored.mirror())
    mirrored.source.put(mirrored.ca.crl(2, dict.fromkeys(range(1, 12000))))
    mirrored.limits = type(mirrored.limits)(8 << 20, 2.0, 5.0)
    other = await connect(mirrored.urls.owner)
    doomed = await connect(mirrored.urls.cli)
    pid = doomed.get_server_pid()
    here, mirrored.connection = mirrored.connection, doomed
    importing = asyncio.create_task(mirrored.bring())
    async with asyncio.timeout(20):
        # the ledger's lock is held: rows of the import are written
        while not await other.fetchval(
            "select true from pg_locks where pid = $1 and relation = 'feed_head'::regclass and mode = 'RowShareLock'",
            pid,
        ):
            await asyncio.sleep(0.001)
    await other.execute("select pg_terminate_backend($1)", pid)
    with pytest.raises(Transient):
        await importing
    mirrored.connection = here
    assert (await mirrored.rows(), await mirrored.served(), without_try(await mirrored.mirror())) == before
    await other.close()
    doomed.terminate()
    assert (await mirrored.bring()).crl_number == 2
    assert len(await mirrored.rows()) == 11999


async def test_an_emptied_cache_is_filled_again(mirrored: Mirrored) -> None:
    """Deleting the row of crl_cache is safe: the source is asked in whole, and what is known already comes back."""
    der = mirrored.ca.crl(3, {1: None})
    mirrored.source.put(der, fields={"ETag": '"3"'})
    await mirrored.bring()
    await mirrored.bring()
    assert mirrored.source.asked[-1][1]["if-none-match"] == '"3"'
    await mirrored.connection.execute("delete from crl_cache")
    assert (await mirrored.bring()).complete is None
    assert await mirrored.served() == der


async def test_the_old_crl_stays_when_another_ca_signed(mirrored: Mirrored) -> None:
    """And why is in the events, by its word."""
    await mirrored.publish(1, {1: None})
    mirrored.source.put(ForeignCA().crl(2, {2: None}))
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is Rule.SIGNATURE
    assert set(await mirrored.rows()) == {1}
    row = await mirrored.connection.fetchrow(
        "select kind, succeeded, fault, error from crl_generation_events order by id desc limit 1"
    )
    assert row is not None
    assert (row["kind"], row["succeeded"], row["fault"]) == ("mirror", False, "signature")
    counted = await mirrored.connection.fetch("select fault, failed from crl_fetch_failures")
    assert [tuple(each) for each in counted] == [("signature", 1)]
    await mirrored.publish(2, {1: None})
    assert await mirrored.connection.fetch("select * from crl_fetch_failures") == []


STATEMENTS = ((HOLD, 9), (SUPERSEDED, 2), (STOLEN, 7), (STOLEN, 5), (None, 1))


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(STATEMENTS))))[::7])
async def test_a_serial_that_is_listed_often_has_its_strongest_statement(
    mirrored: Mirrored, order: tuple[int, ...]
) -> None:
    """KeyCompromise first, and of those the earliest time, whatever the order of the entries."""
    entries = [STATEMENTS[index] for index in order]
    mirrored.source.put(
        crl_of(mirrored.ca, 1, [(5, reason, REVOKED_AT + timedelta(days=day)) for reason, day in entries])
    )
    await mirrored.bring()
    row = await mirrored.connection.fetchrow("select reason, revoked_at from certificate_revocations")
    assert row is not None
    assert tuple(row) == (1, REVOKED_AT + timedelta(days=5))


@pytest.mark.parametrize(
    ("complete", "delta", "expected"),
    [
        ([STOLEN], [SUPERSEDED], {5: 1}),
        ([SUPERSEDED], [STOLEN], {5: 1}),
        ([STOLEN], [HOLD], {5: 1}),
        ([STOLEN], [REMOVED], {5: 1}),
        ([HOLD], [REMOVED], {}),
        ([HOLD], [HOLD, REMOVED], {5: 6}),
        ([HOLD], [REMOVED, HOLD], {5: 6}),
        ([HOLD], [REMOVED, STOLEN], {5: 1}),
    ],
)
async def test_a_complete_crl_and_its_delta_make_the_strongest_statement(
    mirrored: Mirrored,
    complete: list[x509.ReasonFlags],
    delta: list[x509.ReasonFlags],
    expected: dict[int, int],
) -> None:
    """A delta lifts a hold of its base, and weakens nothing permanent."""
    await mirrored.connection.execute("update issuers set delta_source = $1", mirrored.source.url("/delta"))
    mirrored.source.put(crl_of(mirrored.ca, 1, [(5, reason, REVOKED_AT) for reason in complete]))
    later = REVOKED_AT + timedelta(days=1)
    mirrored.source.put(crl_of(mirrored.ca, 2, [(5, reason, later) for reason in delta], base=1), "/delta")
    await mirrored.bring()
    assert {serial: reason for serial, (reason, _) in (await mirrored.rows()).items()} == expected


async def test_a_negative_serial_is_not_the_positive_one_of_the_same_bytes(mirrored: Mirrored) -> None:
    """It is revoked under a key of its own, and the ledger takes the longest one."""
    crl = asn1.CertificateList.load(mirrored.ca.crl(1, {5: STOLEN, 6: None}))
    crl["tbs_cert_list"]["revoked_certificates"][0]["user_certificate"] = -2
    crl["tbs_cert_list"]["revoked_certificates"][1]["user_certificate"] = -(1 << 159)
    crl["signature"] = mirrored.ca.key.sign(crl["tbs_cert_list"].dump(force=True), ec.ECDSA(hashes.SHA256()))
    mirrored.source.put(crl.dump(force=True))
    await mirrored.bring()
    keys = await mirrored.connection.fetch("select serial_number from certificate_revocations")
    assert {row["serial_number"] for row in keys} == {b"\0\xfe", b"\0\x80" + bytes(19)}


async def test_a_complete_crl_is_taken_although_its_delta_fails(mirrored: Mirrored) -> None:
    """And the failure of the delta is raised and recorded."""
    await mirrored.connection.execute("update issuers set delta_source = $1", mirrored.source.url("/none"))
    mirrored.source.put(mirrored.ca.crl(5, {1: None}))
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is SourceFault.STATUS
    assert ((await mirrored.mirror()).crl_number, set(await mirrored.rows())) == (5, {1})


async def test_a_delta_is_taken_although_the_complete_crl_fails(mirrored: Mirrored) -> None:
    """What it revokes is known before the source of the complete one is mended."""
    await mirrored.connection.execute("update issuers set delta_source = $1", mirrored.source.url("/delta"))
    mirrored.source.put(mirrored.ca.crl(5, {1: None}))
    mirrored.source.put(mirrored.ca.crl(5, {}, base=5), "/delta")
    await mirrored.bring()
    mirrored.source.put(b"rubbish")
    mirrored.source.put(mirrored.ca.crl(6, {2: None}, base=5), "/delta")
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is Rule.FORM
    assert set(await mirrored.rows()) == {1, 2}


async def test_a_ca_that_numbers_again_is_accepted_by_an_operator_only(mirrored: Mirrored) -> None:
    """Once, by name, in the audit chain; the revocations stay, and an older CRL is refused all the same."""
    await mirrored.publish(900, {1: None})
    mirrored.source.put(mirrored.ca.crl(1, {1: None, 2: None}, begins=-30))
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is Rule.NUMBER
    context = SyncContext(mirrored.connection, mirrored.limits)
    done = await sync(context, await mirrored.issuer(), renumbered_by="boss")
    assert done is not None
    assert (done.crl_number, set(await mirrored.rows())) == (1, {1, 2})
    (row,) = [row for row in await list_audit(mirrored.connection) if row.action == "crl renumbered"]
    assert (row.actor, row.issuer_id, row.detail["crl_number"]) == ("boss", "foreign", "1")
    await mirrored.publish(2, {1: None, 2: None}, begins=-20)
    assert await mirrored.connection.fetchval("select renumberings from crl_mirrors") == 1
    mirrored.source.put(mirrored.ca.crl(1, {1: None}, begins=-3000))
    with pytest.raises(NotMirrored):
        await sync(context, await mirrored.issuer(), renumbered_by="boss")


async def test_an_edge_takes_a_renumbered_crl_at_once(mirrored: Mirrored, tmp_path: Path) -> None:
    """Although the CRL before holds; a lower number that no operator accepted waits."""
    reader = await connect(mirrored.urls.signer, check=False)
    files, catalog = CRLFiles(tmp_path), Catalog()
    await mirrored.publish(900, {1: None})
    catalog = await read_ledger(reader, files, catalog)
    assert catalog.crls["foreign"].number == 900
    mirrored.source.put(mirrored.ca.crl(1, {1: None, 2: None}, begins=-30))
    context = SyncContext(mirrored.connection, mirrored.limits)
    await sync(context, await mirrored.issuer(), renumbered_by="boss")
    catalog = load_catalog(dump_catalog(await read_ledger(reader, files, catalog)))
    assert catalog.crls["foreign"][:1] + catalog.crls["foreign"][-1:] == (1, 1)
    forget_files(tmp_path, catalog.crls)
    assert {path.name for path in tmp_path.glob("*.crl")} == {catalog.crls["foreign"].file}
    await mirrored.publish(5, {1: None, 2: None}, begins=-20)
    catalog = await read_ledger(reader, files, catalog)
    await mirrored.connection.execute("update crl_cache set crl_number = 4")
    assert (await read_ledger(reader, files, catalog)).crls["foreign"].number == 5
    await reader.close()


async def test_crls_without_a_number_go_by_this_update(mirrored: Mirrored) -> None:
    """The next one is taken, the one before is not; when the CA begins to number, its numbers count from then on."""
    await mirrored.connection.execute("update issuers set accept_unnumbered = true")
    first, second = mirrored.ca.crl(None, {1: None}, begins=-50), mirrored.ca.crl(None, {1: None, 2: None}, begins=-40)
    for der in (first, second):
        mirrored.source.put(der)
        await mirrored.bring()
    mirrored.source.put(first)
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is Rule.WINDOW
    await mirrored.publish(1, {1: None, 2: None, 3: None}, begins=-30)
    assert (await mirrored.publish(2, {1: None, 2: None, 3: None, 4: None}, begins=-20)).crl_number == 2
    assert set(await mirrored.rows()) == {1, 2, 3, 4}


async def test_an_error_with_bytes_of_strangers_can_be_recorded(mirrored: Mirrored) -> None:
    """NUL in a header would be refused by Postgres, and the failure would not be in the events."""
    mirrored.source.answers["/crl"] = Answer(status=302, fields={"Location": "ftp://\x00x/" + "y" * 5000})
    with pytest.raises(NotMirrored) as refused:
        await mirrored.bring()
    assert refused.value.fault is SourceFault.REDIRECTS
    row = await mirrored.connection.fetchrow("select fault, length(error) as n from crl_generation_events")
    assert row is not None
    assert (row["fault"], row["n"] <= 1000) == ("redirects", True)


async def test_an_exception_that_was_not_foreseen_is_recorded(mirrored: Mirrored) -> None:
    """Here of the ledger's row itself: the certificate of the issuer is rubbish."""
    mirrored.source.put(mirrored.ca.crl(1, {1: None}))
    issuer = (await mirrored.issuer())._replace(cert_der=b"rubbish")
    with pytest.raises(ValueError, match="Insufficient data"):
        await sync(SyncContext(mirrored.connection, mirrored.limits), issuer)
    row = await mirrored.connection.fetchrow("select succeeded, fault from crl_generation_events")
    assert row is not None
    assert tuple(row) == (False, "internal")
    assert (await mirrored.mirror()).failures == 1


def crl_of(
    ca: ForeignCA, number: int, entries: list[tuple[int, x509.ReasonFlags | None, datetime]], base: int | None = None
) -> bytes:
    """A CRL whose entries may name a serial number more than once."""
    now = datetime.now(UTC).replace(microsecond=0)
    building = x509.CertificateRevocationListBuilder().issuer_name(ca.name).last_update(now - timedelta(seconds=60))
    building = building.next_update(now + timedelta(hours=1)).add_extension(x509.CRLNumber(number), critical=False)
    if base is not None:
        building = building.add_extension(x509.DeltaCRLIndicator(base), critical=True)
    for serial, reason, when in entries:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        building = building.add_revoked_certificate(entry.build())
    return building.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.DER)
