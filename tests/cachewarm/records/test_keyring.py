"""Which pair signs now, while a new one is only half there."""

from cachewarm.ca.responder_certificate import Fault, key_path, make
from tests.support.plant import Plant


async def test_a_new_pair_waits_until_the_edges_can_know_it(plant: Plant) -> None:
    """Right after a rotation the pair before goes on signing; once the new row has settled it takes over."""
    number = plant.issuer.issuer_no
    before = plant.ring.signing[number].pair
    path = key_path(plant.keys, "ca")
    path.unlink()
    await plant.rotate()
    assert (await plant.read_ring()).signing[number].pair is before
    await plant.connection.execute("update ocsp_responder_certs set created_at = created_at - interval '1 minute'")
    after = (await plant.read_ring()).signing[number].pair
    assert after.certificate.cert_der != before.certificate.cert_der
    assert len(plant.ring.responders[number]) == 2


async def test_a_key_file_ahead_of_its_row_changes_nothing(plant: Plant) -> None:
    """The rotation was killed between file and row: the pair in memory goes on, a fresh process finds a mismatch."""
    number = plant.issuer.issuer_no
    before = plant.ring.signing[number].pair
    _, key = make(plant.authority, "ca", now=plant.now())
    key.store(key_path(plant.keys, "ca"))
    assert (await plant.read_ring()).signing[number].pair is before
    plant.ring = type(plant.ring)()
    assert (await plant.read_ring()).unusable[number].fault is Fault.KEY_MISMATCH
    assert await plant.rotate() == ["ca"]
    assert number in (await plant.read_ring()).signing
