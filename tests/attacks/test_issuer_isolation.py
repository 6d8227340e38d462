"""An issuer whose CA key is missing, foreign, encrypted, open to others or expired stops nothing of another issuer."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cachewarm.ca.authority import init_root
from cachewarm.ca.certificate import parse_subject
from cachewarm.ca.responder_certificate import key_path
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger import faults, issuers
from cachewarm.ledger.connect import connected
from cachewarm.warmer.fault_reports import report_faults
from cachewarm.warmer.responder_rotation import rotate_due
from responder.domain.catalog import Catalog, dump_catalog, load_catalog
from responder.feed.catalog import read_ledger
from responder.feed.crl_files import CRLFiles
from tests.support.plant import DAY, Plant, plant

__all__ = ["plant"]


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
