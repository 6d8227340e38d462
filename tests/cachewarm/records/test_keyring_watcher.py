"""The keyring follows ledger and key folder, and reads again only what changed."""

import pytest

from cachewarm.ca.responder_certificate import Fault, key_path
from cachewarm.errors import Transient
from cachewarm.ledger.connect import Connection, connect
from cachewarm.records import keyring_watcher
from cachewarm.records.keyring_watcher import KeyringWatcher
from tests.support.plant import Plant, found_test_ca


async def no_connection() -> Connection:
    """Reads are called by the tests."""
    raise AssertionError


@pytest.fixture
async def watcher(plant: Plant) -> KeyringWatcher:
    """Of two issuers with responders, read once."""
    await found_test_ca(plant.connection, plant.keys, issuer_id="cb", name="CN=CB", now=plant.now())
    assert await plant.rotate() == ["cb"]
    watcher = KeyringWatcher(no_connection, plant.keys, None)
    await watcher.read(plant.connection)
    return watcher


async def test_a_look_at_nothing_new_returns_the_same_ring(plant: Plant, watcher: KeyringWatcher) -> None:
    """The same object, so that nobody compares issuers."""
    ring = watcher.keyring
    assert len(ring.signing) == 2
    assert await watcher.read(plant.connection) is ring
    other = await connect(plant.urls.signer)
    try:
        assert await watcher.read(other) is ring
    finally:
        await other.close()


async def test_one_issuer_that_changed_is_read_again_alone(plant: Plant, watcher: KeyringWatcher) -> None:
    """Plain SQL is enough; the other issuer's pair stays the same object."""
    before = watcher.keyring
    first, second = sorted(before.issuers)
    await plant.connection.execute("update issuers set ocsp_url = 'http://elsewhere' where issuer_id = 'ca'")
    ring = await watcher.read(plant.connection)
    assert ring.issuers[first].ocsp_url == "http://elsewhere"
    assert ring.issuers[second] is before.issuers[second]
    assert ring.signing[second] is before.signing[second]
    assert ring.signing[first].pair is before.signing[first].pair
    assert await watcher.read(plant.connection) is ring


async def test_a_change_that_commits_late_is_seen(plant: Plant, watcher: KeyringWatcher) -> None:
    """It began before another one that was read in between."""
    slow = await connect(plant.urls.cli)
    try:
        async with slow.transaction():
            await slow.execute("update issuers set ocsp_url = 'http://slow' where issuer_id = 'ca'")
            await plant.connection.execute("update issuers set ocsp_url = 'http://fast' where issuer_id = 'cb'")
            ring = await watcher.read(plant.connection)
            assert {each.ocsp_url for each in ring.issuers.values()} >= {"http://fast"}
        ring = await watcher.read(plant.connection)
        assert {each.ocsp_url for each in ring.issuers.values()} == {"http://fast", "http://slow"}
    finally:
        await slow.close()


async def test_key_files_are_followed(plant: Plant, watcher: KeyringWatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is gone is noticed, is somebody's business, and is taken up again when it is back."""
    monkeypatch.setattr(keyring_watcher, "RETRY_S", 1000)
    number = plant.issuer.issuer_no
    path = key_path(plant.keys, "ca")
    away = path.rename(plant.keys / "away")
    assert (await watcher.read(plant.connection)).unusable[number].fault is Fault.KEY_MISSING
    assert watcher.take_touched() == {"ca"}
    assert watcher.take_touched() == set()
    away.rename(path)
    assert number in (await watcher.read(plant.connection)).signing
    path.chmod(0o644)
    watcher._files._look_at = 0.0  # the folder's own time does not change
    await watcher.read(plant.connection)
    assert watcher.take_touched() == {"ca"}


async def test_a_ledger_that_fails_in_between_is_read_as_a_whole(plant: Plant, watcher: KeyringWatcher) -> None:
    """What changed during the failure is not lost."""
    gone = await connect(plant.urls.cli)
    await watcher.read(gone)
    gone.terminate()
    await plant.connection.execute("update issuers set ocsp_url = 'http://elsewhere' where issuer_id = 'ca'")
    with pytest.raises(Transient):
        await watcher.read(gone)
    ring = await watcher.read(plant.connection)
    assert ring.issuers[plant.issuer.issuer_no].ocsp_url == "http://elsewhere"
