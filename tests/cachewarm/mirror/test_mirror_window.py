"""`good` from a mirrored CRL: within its window, and only for who has heard its entries (ADR 0011)."""

import time
from dataclasses import replace

import pytest

from _fastocsp.ocsp.record import Record, unpack_record
from _fastocsp.wire.codes import GOOD, REVOKED
from cachewarm.ledger.connect import connect
from cachewarm.ledger.revocations import revoke
from cachewarm.signer.decisions import SignerDecisions
from cachewarm.signer.inventory_cache import InventoryCache
from responder.domain.crl_window import CRLWindow
from responder.domain.key import Key
from responder.domain.status import CRLReason, UnissuedPolicy
from responder.errors import TryLater
from tests.support.plant import DAY, Plant

STRANGER = bytes.fromhex("0badc0de0badc0de")


async def mirror(plant: Plant, *windows: tuple[float, float, int]) -> None:
    """The issuer's status comes from CRLs of these windows (seconds from now, and seq), newest first; good policy."""
    await plant.connection.execute(
        "update issuers set crl_source = 'http://127.0.0.1:1/crl', unissued_policy = $1", UnissuedPolicy.GOOD.value
    )
    await plant.connection.execute("select mirror_begin('ca')")
    for prefix, (begins, ends, seq) in zip(("good", "former"), windows, strict=False):
        place = "generation = 1, seq" if prefix == "good" else "former_generation = 1, former_seq"
        await plant.connection.execute(
            f"""update crl_mirrors set {prefix}_from = to_timestamp($1), {prefix}_until = to_timestamp($2),
                  {place} = $3""",
            time.time() + begins,
            time.time() + ends,
            seq,
        )
    await plant.read_ring()


async def ask(plant: Plant, serial: bytes = STRANGER) -> tuple[Record, bool]:
    """What a fresh signer says, and whether it may be kept."""
    issued = InventoryCache(lambda: connect(plant.urls.signer))
    try:
        decisions = SignerDecisions(plant.feed, issued, lambda: plant.ring, plant.now, DAY)
        found = await decisions.record(Key(plant.issuer.issuer_no, 2, serial))
        return unpack_record(found.record), found.storable
    finally:
        await issued.close()


async def test_good_promises_no_more_than_the_crl(plant: Plant) -> None:
    """For a stranger and for an issued certificate: thisUpdate is the CRL's, nextUpdate is not past it; both kept."""
    await mirror(plant, (-1000, 500, 0))
    (window,) = plant.ring.issuers[plant.issuer.issuer_no].windows or ()
    for serial in (STRANGER, plant.leaves[0].serial):
        record, storable = await ask(plant, serial)
        assert (record.status, storable) == (GOOD, True)
        assert (record.this_update, record.next_update) == (window.this_update, window.next_update)
        assert record.produced_at >= window.this_update + 999


async def test_a_long_crl_makes_no_long_answer(plant: Plant) -> None:
    """OCSP_RESPONSE_VALIDITY is the bound then."""
    await mirror(plant, (-1000, 30 * DAY, 0))
    record, _ = await ask(plant)
    assert plant.now() + DAY - 5 <= record.next_update <= plant.now() + DAY


async def test_nobody_is_good_without_a_crl_that_holds(plant: Plant) -> None:
    """Before the first CRL, and after the last one's end: tryLater, for strangers and for the inventory."""
    await mirror(plant)
    for serial in (STRANGER, plant.leaves[0].serial):
        with pytest.raises(TryLater):
            await ask(plant, serial)
    await mirror(plant, (-1000, -1, 0))
    for serial in (STRANGER, plant.leaves[0].serial):
        with pytest.raises(TryLater):
            await ask(plant, serial)
    assert (await plant.walk()).covered == 0


async def test_revoked_stays_revoked_when_the_crl_has_ended(plant: Plant) -> None:
    """With the whole validity of an answer."""
    await mirror(plant, (-1000, -1, 0))
    done = await revoke(plant.connection, "ca", STRANGER, reason=CRLReason.keyCompromise, actor="t", allow_unknown=True)
    await plant.heard(done.seq)
    record, _ = await ask(plant)
    assert record.status == REVOKED
    assert record.next_update > plant.now() + DAY - 10


async def test_a_window_counts_only_for_who_heard_its_entries(plant: Plant) -> None:
    """A replica that lags behind the new CRL speaks for the one before; behind both it says nothing."""
    here = plant.feed.position.seq
    await mirror(plant, (-10, 900, here + 5), (-1000, 500, here))
    record, _ = await ask(plant)
    assert record.next_update < plant.now() + 501
    await mirror(plant, (-10, 900, here + 5), (-1000, 500, here + 1))
    with pytest.raises(TryLater):
        await ask(plant)


async def test_the_walk_signs_within_the_window(plant: Plant) -> None:
    """What is signed ahead has the same end, and is not signed again and again as its thisUpdate is old."""
    await mirror(plant, (-5000, 600, 0))
    first = await plant.walk()
    assert (first.covered, first.signed) == (6, 12)
    assert (await plant.walk()).signed == 0
    kept = await plant.publisher.kept([Key(plant.issuer.issuer_no, 2, leaf.serial) for leaf in plant.leaves])
    ends = {unpack_record(octets).next_update for octets in kept if octets is not None}
    (window,) = plant.ring.issuers[plant.issuer.issuer_no].windows or ()
    assert ends == {window.next_update}


async def test_the_row_stays_when_the_source_goes(plant: Plant) -> None:
    """Whoever takes the source away by hand does not turn `good` loose."""
    await mirror(plant)
    await plant.connection.execute("update issuers set crl_source = null")
    await plant.read_ring()
    assert plant.ring.issuers[plant.issuer.issuer_no].windows == ()
    with pytest.raises(TryLater):
        await ask(plant)


async def test_the_catalog_on_disk_keeps_the_window(plant: Plant) -> None:
    """An edge that starts while the ledger is away still shows until when."""
    from responder.domain.catalog import Catalog, dump_catalog, load_catalog

    issuer = plant.ring.issuers[plant.issuer.issuer_no]
    for windows in (None, (), (CRLWindow(1, 2, 3, 4),)):
        catalog = Catalog(issuers=(replace(issuer, windows=windows),), fetch_failures={"ca": {"slow": 2}})
        read = load_catalog(dump_catalog(catalog))
        assert (read.issuers[0].windows, read.fetch_failures) == (windows, {"ca": {"slow": 2}})
