"""Delegated responders: made, kept, replaced in time, never by the CA's own key; one issuer's fault is its own."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cachewarm.ca.authority import init_root
from cachewarm.ca.certificate import parse_subject
from cachewarm.ca.responder_certificate import key_path
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger import faults, inventory, issuers
from cachewarm.ledger.connect import Connection, connect, connected
from cachewarm.ledger.responders import responder_certs
from cachewarm.warmer.responder_rotation import rotate_due
from cachewarm.warmer.warmer import report_faults
from responder.domain.catalog import Catalog, dump_catalog, load_catalog
from responder.feed.catalog import read_ledger
from responder.feed.crl_files import CRLFiles
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


def missing(path: Path, key: SoftKey) -> None:
    """No file at all."""


def foreign(path: Path, key: SoftKey) -> None:
    """Another CA's key."""
    SoftKey.generate(KeyKind.P256).store(path)


def encrypted(path: Path, key: SoftKey) -> None:
    """A passphrase that the warmer does not have."""
    key.store(path, b"a passphrase that nobody here has set")


def world_readable(path: Path, key: SoftKey) -> None:
    """Mode 0644."""
    key.store(path)
    path.chmod(0o644)


def garbage(path: Path, key: SoftKey) -> None:
    """Not a key."""
    path.write_bytes(b"\x00garbage")
    path.chmod(0o600)


def folder(path: Path, key: SoftKey) -> None:
    """A folder where the file should be."""
    path.mkdir()


async def add_broken(plant: Plant, breakage: Callable[[Path, SoftKey], None] | None) -> None:
    """An issuer before `ca` in every list, whose CA key is broken; None: its certificate has expired."""
    key, path = SoftKey.generate(KeyKind.P256), plant.keys / "ca-aa.key"
    begun = plant.now() - (0 if breakage else int(9 * DAY))
    made = init_root(key, parse_subject("CN=Broken"), now=begun, validity_s=int(DAY))
    if breakage is None:
        key.store(path)
    else:
        breakage(path, key)
    row = issuers.NewIssuer(subject=made.subject, cert_der=made.cert_der, key_path=str(path))
    await issuers.add_issuer(plant.connection, "aa", actor="tests", **row)


@pytest.mark.parametrize("breakage", [missing, foreign, encrypted, world_readable, garbage, folder, None])
async def test_a_broken_ca_key_stops_no_other_issuer(
    plant: Plant, breakage: Callable[[Path, SoftKey], None] | None, tmp_path: Path
) -> None:
    """The issuer after it gets its responder, its records and its keyring; the fault is named in the ledger."""
    await add_broken(plant, breakage)
    key_path(plant.keys, "ca").unlink()
    done = await rotate_due(plant.connection, plant.keys, None, now=plant.now(), validity_s=30 * DAY, grace_s=7 * DAY)
    assert (done.made, list(done.faults)) == (["ca"], ["aa"])
    assert "ca-aa.key" in done.faults["aa"] or "expired" in done.faults["aa"] or "belong" in done.faults["aa"]
    assert plant.issuer.issuer_no in (await plant.read_ring()).signing
    assert (await plant.walk()).signed > 0
    known: dict[str, str] = {}
    for _ in range(3):
        known = await report_faults(plant.connection, faults.RESPONDER, known, done.faults)
    (fault,) = await faults.issuer_faults(plant.connection)
    async with connected(plant.urls.signer, check=False) as reader:
        seen = await read_ledger(reader, CRLFiles(tmp_path / "edge"), Catalog())
    assert seen.issuer_faults == {"aa": ["responder"]}
    assert load_catalog(dump_catalog(seen)).issuer_faults == seen.issuer_faults
    assert (fault.issuer_id, fault.work, fault.failures) == ("aa", "responder", 3)
    assert fault.since < datetime.now(UTC) + timedelta(seconds=1)
    await report_faults(plant.connection, faults.RESPONDER, known, {})
    assert await faults.issuer_faults(plant.connection) == []


async def test_a_walk_that_fails_for_one_issuer_goes_on_with_the_next(plant: Plant) -> None:
    """Here a responder key that is not the certificate's: the check before publishing refuses its records."""
    await add_broken(plant, world_readable)
    (plant.keys / "ca-aa.key").chmod(0o600)
    assert await plant.rotate() == ["aa"]
    ring = await plant.read_ring()
    broken = next(no for no, each in ring.issuers.items() if each.issuer_id == "aa")
    object.__setattr__(ring.signing[broken].pair, "key", SoftKey.generate(KeyKind.P256))
    count = await plant.walk(batch=100)
    assert list(count.faults) == ["aa"]
    assert count.signed == 12


async def test_a_responder_certificate_is_in_the_inventory(plant: Plant) -> None:
    """The policy for serials never issued must not answer for it; it can be revoked like any other certificate."""
    (cert,) = await responder_certs(plant.connection)
    found = await inventory.get_certificate(plant.connection, "ca", cert.serial_number)
    assert found is not None
    assert (found.cert_der, found.not_after) == (cert.cert_der, cert.not_after)
