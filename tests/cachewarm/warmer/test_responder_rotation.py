"""Delegated responders: made, kept, replaced in time, never by the CA's own key."""

import asyncio

from cachewarm.ca.responder_certificate import key_path
from cachewarm.ledger import inventory
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.responders import responder_certs
from cachewarm.warmer.responder_rotation import rotate_due
from tests.support.plant import DAY, Plant


async def test_a_usable_pair_is_left_alone(plant: Plant) -> None:
    """Nothing is due: nothing is made."""
    assert await plant.rotate() == []
    assert len(await responder_certs(plant.connection)) == 1


async def test_the_rotation_grace_replaces_it_before_its_end(plant: Plant) -> None:
    """Inside the grace a new pair is made; the old certificate stays in the ledger for the records it signed."""
    later = plant.now() + int(24 * DAY)
    made = await rotate_due(plant.connection, plant.keys, None, now=later, validity_s=30 * DAY, grace_s=7 * DAY)
    assert (made.made, made.faults) == (["ca"], {})
    assert len(await responder_certs(plant.connection)) == 2


async def test_a_missing_key_or_row_means_now(plant: Plant) -> None:
    """compat.md: a missing row or file means rotate now, never a crash."""
    path = key_path(plant.keys, "ca")
    path.unlink()
    assert await plant.rotate() == ["ca"]
    path.write_bytes(b"not a key")
    assert await plant.rotate() == ["ca"]
    await plant.connection.execute("delete from ocsp_responder_certs")
    assert await plant.rotate() == ["ca"]
    assert await plant.rotate() == []
    assert path.stat().st_mode & 0o777 == 0o600


async def test_of_many_warmers_one_makes_the_pair(plant: Plant) -> None:
    """Whoever gets the turn after another one looks again: one new pair, however their looks and turns interleave."""
    key_path(plant.keys, "ca").unlink()
    others = [await connect(plant.urls.cli) for _ in range(6)]

    async def one(other: Connection, late_s: float) -> list[str]:
        await asyncio.sleep(late_s)
        done = await rotate_due(other, plant.keys, None, now=plant.now(), validity_s=30 * DAY, grace_s=7 * DAY)
        return done.made

    made = await asyncio.gather(*(one(other, number / 500) for number, other in enumerate(others)))
    await asyncio.gather(*(other.close() for other in others))
    assert sorted(made) == [[]] * 5 + [["ca"]]
    assert len(await responder_certs(plant.connection)) == 2


async def test_two_warmers_do_not_fight(plant: Plant) -> None:
    """Both find it missing at the same moment: the ledger and the file end as one usable pair."""
    key_path(plant.keys, "ca").unlink()
    other = await connect(plant.urls.cli)
    await asyncio.gather(
        plant.rotate(),
        rotate_due(other, plant.keys, None, now=plant.now(), validity_s=30 * DAY, grace_s=7 * DAY),
    )
    await other.close()
    assert await plant.rotate() == []
    assert plant.issuer.issuer_no in (await plant.read_ring()).signing


async def test_a_responder_certificate_is_in_the_inventory(plant: Plant) -> None:
    """The policy for serials never issued must not answer for it; it can be revoked like any other certificate."""
    (cert,) = await responder_certs(plant.connection)
    found = await inventory.get_certificate(plant.connection, "ca", cert.serial_number)
    assert found is not None
    assert (found.cert_der, found.not_after) == (cert.cert_der, cert.not_after)
