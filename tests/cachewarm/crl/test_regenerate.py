"""CRLs from the ledger: complete, numbered, logged, and never a worse one in place of a better one."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from cachewarm.config import Settings
from cachewarm.crl.parse import peek_crl
from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.schedule import rules_of
from cachewarm.crl.sign_and_check import Rules
from cachewarm.errors import Refused
from cachewarm.ledger import crl_pieces, crls, issuer_states, issuers
from cachewarm.ledger.connect import connect
from cachewarm.ledger.revocations import revoke
from responder.domain.status import CRLReason
from tests.support.judges import lint_crl, openssl
from tests.support.plant import DAY, Plant
from tests.support.revocation_lists import published, reasons

RULES = Rules(validity_s=DAY)


async def test_the_revoked_are_listed_and_outsiders_agree(plant: Plant, tmp_path: Path) -> None:
    """Openssl verifies it, pkilint finds nothing, the numbers grow, each build is an event."""
    await revoke(plant.connection, "ca", plant.leaves[0].serial, reason=CRLReason.keyCompromise, actor="tests")
    first = await regenerate(plant.connection, plant.issuer, None, RULES)
    second = await regenerate(plant.connection, plant.issuer, None, RULES)
    assert (first, second) == (1, 2)
    kept = await crls.read_crl(plant.connection, "ca")
    assert kept is not None
    assert [entry.serial for entry in peek_crl(kept.crl_der).entries()] == [plant.leaves[0].serial]
    assert lint_crl(kept.crl_der) == []
    (tmp_path / "ca.pem").write_bytes(_pem(plant))
    (tmp_path / "crl.der").write_bytes(kept.crl_der)
    said = openssl(
        "crl", "-inform", "DER", "-in", tmp_path / "crl.der", "-CAfile", tmp_path / "ca.pem", "-verify", "-noout"
    )
    assert "error" not in said.lower()
    assert [(event.succeeded, event.crl_number) for event in await crls.crl_builds(plant.connection, "ca")] == [
        (True, 2),
        (True, 1),
    ]


async def test_a_changed_reason_is_in_the_next_crl(plant: Plant) -> None:
    """Superseded at first, keyCompromise once that is known: the CRL follows."""
    serial = plant.leaves[0].serial
    for reason in (CRLReason.superseded, CRLReason.keyCompromise):
        await revoke(plant.connection, "ca", serial, reason=reason, actor="tests")
        await regenerate(plant.connection, plant.issuer, None, RULES)
        assert reasons((await published(plant.connection))[""]) == {serial: reason}


async def test_a_large_crl_travels_in_pieces_and_is_the_same(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written and read in many pieces; of a later CRL nothing is mixed in."""
    for module in (crls, crl_pieces):
        monkeypatch.setattr(module, "PIECE", 100)
    for number, leaf in enumerate(plant.leaves[:3], 1):
        await revoke(plant.connection, "ca", leaf.serial, actor="tests")
        assert await regenerate(plant.connection, plant.issuer, None, RULES) == number
    kept = await crls.read_crl(plant.connection, "ca")
    assert kept is not None
    assert kept.crl_der == await plant.connection.fetchval("select crl_der from crl_cache")
    assert {entry.serial for entry in peek_crl(kept.crl_der).entries()} == {leaf.serial for leaf in plant.leaves[:3]}
    assert await crls.made_parts(plant.connection, "ca", 3) == {"": 3}


@pytest.mark.parametrize(
    "damage",
    [
        lambda der: b"",
        lambda der: der[:1],
        lambda der: der[:200],
        lambda der: der[:-1],
        lambda der: der + b"\0",
        lambda der: der[:5] + b"\x84\xff\xff\xff\xff" + der[10:],
        lambda der: der.replace(b"\x17\x0d", b"\x30\x0d"),
    ],
    ids=["empty", "tag", "head", "cut", "more", "length", "times"],
)
async def test_bytes_that_are_no_crl_are_replaced(plant: Plant, damage: Callable[[bytes], bytes]) -> None:
    """Whatever the damage to its form, the next build does not read it as an earlier CRL."""
    await revoke(plant.connection, "ca", plant.leaves[0].serial, reason=CRLReason.superseded, actor="tests")
    await regenerate(plant.connection, plant.issuer, None, RULES)
    kept = await crls.read_crl(plant.connection, "ca")
    assert kept is not None
    owner = await connect(plant.urls.owner)
    await owner.execute("update crl_cache set crl_der = $1", damage(kept.crl_der))
    await owner.close()
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 2
    assert reasons((await published(plant.connection))[""]) == {plant.leaves[0].serial: CRLReason.superseded}


async def test_a_broken_row_does_not_stop_the_next_one(plant: Plant) -> None:
    """Somebody damaged crl_cache: the next build replaces it, with a higher number."""
    await regenerate(plant.connection, plant.issuer, None, RULES)
    await plant.connection.execute("update crl_cache set crl_der = '\\x3000'")
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 2


async def test_a_failed_build_is_logged_and_the_old_crl_stays(plant: Plant) -> None:
    """The CA's key is gone: the event says why, crl_cache has what it had, no number is used twice afterwards."""
    await regenerate(plant.connection, plant.issuer, None, RULES)
    path = Path(plant.issuer.key_path or "")
    key = path.read_bytes()
    path.unlink()
    with pytest.raises(Refused, match="missing"):
        await regenerate(plant.connection, plant.issuer, None, RULES)
    [failed, _] = await crls.crl_builds(plant.connection, "ca")
    assert not failed.succeeded
    assert "missing" in (failed.error or "")
    kept = await crls.read_crl(plant.connection, "ca")
    assert kept is not None
    assert kept.crl_number == 1
    path.write_bytes(key)
    path.chmod(0o600)
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 2


async def test_the_window_is_the_settings(plant: Plant) -> None:
    """ThisUpdate is now, nextUpdate the validity later."""
    await regenerate(plant.connection, plant.issuer, None, RULES)
    kept = await crls.read_crl(plant.connection, "ca")
    assert kept is not None
    assert kept.next_update - kept.this_update == timedelta(days=1)
    assert abs(kept.this_update.timestamp() - time.time()) < 60


async def test_no_two_crls_have_one_last_modified(plant: Plant) -> None:
    """Three in a row, under the rules of the product: who has one of them gets the next by If-Modified-Since."""
    rules, seen = rules_of(Settings()), set()
    for _ in range(3):
        await regenerate(plant.connection, plant.issuer, None, rules)
        kept = await crls.read_crl(plant.connection, "ca")
        assert kept is not None
        seen.add(kept.this_update)
    assert len(seen) == 3


async def test_two_builders_make_one(plant: Plant) -> None:
    """While one is at it the other one steps back."""
    other = await connect(plant.urls.cli)
    async with crls.crl_turn(other, "ca") as ours:
        assert ours
        assert await regenerate(plant.connection, plant.issuer, None, RULES) is None
    await other.close()
    assert await regenerate(plant.connection, plant.issuer, None, RULES) == 1


def _pem(plant: Plant) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return plant.authority.certificate.public_bytes(Encoding.PEM)


async def test_removed_issuer_gets_no_crl_where_no_ca_signer_refuses_it(plant: Plant) -> None:
    """The key is opened in this process: nothing is signed, no number is spent, no build is recorded."""
    await issuer_states.remove(plant.connection, "ca", force=True, actor="tests")
    with pytest.raises(Refused, match="ca is removed"):
        await regenerate(plant.connection, await issuers.require_issuer(plant.connection, "ca"), None, RULES)
    assert await crls.crl_builds(plant.connection, "ca") == []
