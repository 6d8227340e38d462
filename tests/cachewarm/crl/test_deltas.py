"""Delta CRLs: what they leave after any complete CRL that they may be put on is the revoked set, whatever happened."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.ca.certificate import moment
from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.regenerate import regenerate, regenerate_delta
from cachewarm.crl.sign_and_check import Rules
from cachewarm.errors import Transient
from cachewarm.ledger import crl_parts, crls, issuers
from cachewarm.ledger.crls import CRLBase
from cachewarm.ledger.inventory import NewCertificate, add_certificates
from cachewarm.ledger.revocations import revoke, unhold
from responder.domain.status import CRLReason
from tests.support.judges import lint_crl, openssl
from tests.support.plant import DAY, Plant
from tests.support.revocation_lists import combined, published, reasons, revoked, usable

RULES = Rules(validity_s=DAY)
HOLD, SUPERSEDED = CRLReason.certificateHold, CRLReason.superseded


@pytest.fixture
async def delta_plant(plant: Plant) -> Plant:
    """The CA makes deltas."""
    wish = issuers.CRLWish(delta=True)
    return replace(plant, issuer=await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests"))


async def test_the_first_complete_crl_brings_its_delta(delta_plant: Plant) -> None:
    """Same number, same moment, empty; the complete one says where it is; pkilint finds nothing in either."""
    await revoke(delta_plant.connection, "ca", delta_plant.leaves[0].serial, reason=HOLD, actor="tests")
    assert await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES) == 1
    found = await published(delta_plant.connection)
    complete, delta = found[""], found["delta"]
    assert (complete.number, complete.base_number, delta.number, delta.base_number) == (1, None, 1, 1)
    assert complete.freshest == (f"{delta_plant.issuer.crl_url}/delta",)
    assert delta.freshest == ()
    assert (set(complete.critical), set(delta.critical)) == (set(), {"delta_crl_indicator"})
    assert delta.this_update == complete.this_update
    assert delta.entries() == ()
    assert [lint_crl(each.der) for each in (complete, delta)] == [[], []]


async def test_a_hold_that_comes_and_goes_is_taken_off_every_complete_crl(delta_plant: Plant) -> None:
    """Also off one between base and delta that had it although the base had not."""
    serial = delta_plant.leaves[0].serial
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    await revoke(delta_plant.connection, "ca", serial, reason=HOLD, actor="tests")
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    between = (await published(delta_plant.connection))[""]
    assert reasons(between) == {serial: HOLD}
    await unhold(delta_plant.connection, "ca", serial, actor="tests")
    assert await regenerate_delta(delta_plant.connection, delta_plant.issuer, None, RULES) == 3
    delta = (await published(delta_plant.connection))["delta"]
    assert reasons(delta) == {serial: CRLReason.removeFromCRL}
    assert combined(between, delta) == {}
    assert lint_crl(delta.der) == []
    [event, *_] = await crls.crl_builds(delta_plant.connection, "ca")
    assert (event.kind, event.crl_number, event.revoked_count, event.succeeded) == ("delta", 3, 1, True)


@pytest.mark.parametrize("seed", range(6))
async def test_any_complete_crl_and_its_deltas_are_the_revoked_set(delta_plant: Plant, seed: int) -> None:
    """Over random histories of revocations, holds, releases, changes of reason and builds, deltas alone among them."""
    dice = random.Random(seed)
    serials = [bytes((0x40, n)) for n in range(1, 13)]
    now = datetime.now(UTC).replace(microsecond=0)
    await add_certificates(
        delta_plant.connection,
        "ca",
        [NewCertificate(serial_number=each, not_before=now, not_after=now + timedelta(days=9)) for each in serials],
    )
    completes: list[ReadCRL] = []
    checked = 0
    for _ in range(60):
        match dice.choice(["revoke", "revoke", "hold", "release", "amend", "complete", "delta", "delta"]):
            case "revoke":
                await _revoke(delta_plant, dice.choice(serials), SUPERSEDED)
            case "hold":
                await _revoke(delta_plant, dice.choice(serials), HOLD)
            case "release":
                for serial, reason in list((await revoked(delta_plant.connection)).items())[: dice.randrange(3)]:
                    if reason == HOLD:
                        await unhold(delta_plant.connection, "ca", serial, actor="tests")
            case "amend":
                await delta_plant.connection.execute(
                    "update certificate_revocations set reason = 1 where serial_number = $1", dice.choice(serials)
                )
            case build:
                age = dice.choice([0.0, 0.001, 3600.0])
                rules = replace(RULES, base_age_s=age, force=True)
                make = regenerate if build == "complete" else regenerate_delta
                await make(delta_plant.connection, delta_plant.issuer, None, rules)
                found = await published(delta_plant.connection)
                if not completes or completes[-1].number != found[""].number:
                    completes.append(found[""])
                    assert reasons(found[""]) == await revoked(delta_plant.connection)
                for complete in usable(completes, found["delta"]):
                    assert combined(complete, found["delta"]) == await revoked(delta_plant.connection)
                    checked += 1
    assert checked > 10


async def _revoke(plant: Plant, serial: bytes, reason: CRLReason) -> None:
    if serial not in await revoked(plant.connection):
        await revoke(plant.connection, "ca", serial, reason=reason, actor="tests")


async def test_what_expires_leaves_complete_crl_and_delta_alike(delta_plant: Plant) -> None:
    """On one complete CRL after its end, then gone from it, and taken off older ones by the delta."""
    await _expired(delta_plant, b"\x55", ended_s=3600, recorded_s=7200)
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    first = (await published(delta_plant.connection))[""]
    assert reasons(first) == {b"\x55": SUPERSEDED}
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    found = await published(delta_plant.connection)
    assert reasons(found[""]) == {}
    assert combined(first, found["delta"]) == {}
    assert await revoked(delta_plant.connection) == {b"\x55": SUPERSEDED}
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    assert combined(first, (await published(delta_plant.connection))["delta"]) == {}


@pytest.mark.parametrize(
    ("ended_s", "recorded_s", "stays"),
    [(-3600, 7200, True), (300, 7200, True), (7200, 300, True), (1200, 1200, False)],
    ids=["not ended", "ended within the margin", "revoked within the margin", "on one more CRL"],
)
async def test_an_entry_goes_after_one_more_crl(delta_plant: Plant, ended_s: int, recorded_s: int, stays: bool) -> None:
    """RFC 5280 3.3: it goes only when a CRL issued after the certificate's end has had it."""
    await _expired(delta_plant, b"\x55", ended_s=ended_s, recorded_s=recorded_s)
    for _ in range(2):
        await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    assert (reasons((await published(delta_plant.connection))[""]) != {}) is stays


async def _expired(plant: Plant, serial: bytes, *, ended_s: int, recorded_s: int) -> None:
    """A revoked certificate whose end, and whose revocation's row, lie so far back."""
    now = datetime.now(UTC).replace(microsecond=0)
    ends = now - timedelta(seconds=ended_s)
    await add_certificates(
        plant.connection,
        "ca",
        [NewCertificate(serial_number=serial, not_before=now - timedelta(days=9), not_after=ends)],
    )
    await plant.connection.execute(
        "insert into certificate_revocations (issuer_id, serial_number, reason, revoked_at, created_at)"
        " values ('ca', $1, 4, $2, $2)",
        serial,
        now - timedelta(seconds=recorded_s),
    )


async def test_delta_alone_without_a_base_is_a_complete_build(delta_plant: Plant) -> None:
    """Somebody emptied the tables: everything is made again, with higher numbers."""
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    for table in ("crl_bases", "crl_cache", "crl_parts"):
        await delta_plant.connection.execute(f"delete from {table} where issuer_id = 'ca'")
    assert await regenerate_delta(delta_plant.connection, delta_plant.issuer, None, RULES) == 2
    assert set(await published(delta_plant.connection)) == {"", "delta"}


async def test_deltas_that_pause_begin_anew(delta_plant: Plant) -> None:
    """Changes are not noted while deltas are off, so no later delta is based on what was before."""
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    off = await issuers.change_issuer(delta_plant.connection, "ca", crls=issuers.CRLWish(delta=False), actor="tests")
    await revoke(delta_plant.connection, "ca", delta_plant.leaves[0].serial, actor="tests")
    await regenerate(delta_plant.connection, off, None, RULES)
    assert set(await published(delta_plant.connection)) == {""}
    on = await issuers.change_issuer(delta_plant.connection, "ca", crls=issuers.CRLWish(delta=True), actor="tests")
    await regenerate_delta(delta_plant.connection, on, None, RULES)
    assert (await published(delta_plant.connection))["delta"].base_number == 3


@pytest.mark.parametrize("alone", [True, False], ids=["delta", "complete"])
async def test_a_delta_whose_base_went_during_its_build_is_not_published(delta_plant: Plant, alone: bool) -> None:
    """Deltas were switched off and on while it was made: it may lack what changed then, so new ones begin."""
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    complete = await crls.read_crl(delta_plant.connection, "ca")
    parts = await crl_parts.read_parts(delta_plant.connection, "ca")
    bases = await crl_parts.read_bases(delta_plant.connection, "ca")
    assert complete is not None
    for wanted in (False, True):
        wish = issuers.CRLWish(delta=wanted)
        await issuers.change_issuer(delta_plant.connection, "ca", crls=wish, actor="tests")
    newer = None if alone else replace(complete, crl_number=2)
    with pytest.raises(Transient, match="the next build starts new ones"):
        await crl_parts.publish(delta_plant.connection, newer, [replace(parts["delta"], crl_number=2)], bases=bases)
    assert {crl.number for crl in (await published(delta_plant.connection)).values()} == {1}


def test_a_replaced_complete_crl_is_a_base_for_its_time() -> None:
    """Over a day of builds every few minutes: whoever has a complete CRL replaced less than `age` ago can go on."""
    dice, age = random.Random(5), 3600
    known: list[CRLBase] = []
    numbers: list[tuple[int, int]] = []
    at = 0
    for number in range(1, 400):
        at += dice.randrange(1, 600)
        new = CRLBase(
            issuer_id="ca", crl_number=number, this_update=moment(at), change_no=number, expired_before=moment(0)
        )
        known = crl_parts.next_bases(known, new, age)
        replaced = {earlier: later_at for (earlier, _), (_, later_at) in itertools.pairwise(numbers)}
        for earlier, _ in numbers:
            if at - replaced.get(earlier, at) < age:
                assert known[0].crl_number <= earlier
        numbers.append((number, at))
        assert len(known) <= 3
    assert known[0].crl_number > 300


async def test_openssl_uses_complete_crl_and_delta_together(delta_plant: Plant, tmp_path: Path) -> None:
    """`openssl verify -crl_check -use_deltas`: a new revocation and a lifted hold are seen through the delta alone."""
    held, later, good = (leaf for leaf in delta_plant.leaves[:3])
    await revoke(delta_plant.connection, "ca", held.serial, reason=HOLD, actor="tests")
    await regenerate(delta_plant.connection, delta_plant.issuer, None, RULES)
    old = (await published(delta_plant.connection))[""]
    await unhold(delta_plant.connection, "ca", held.serial, actor="tests")
    await revoke(delta_plant.connection, "ca", later.serial, reason=SUPERSEDED, actor="tests")
    await regenerate_delta(delta_plant.connection, delta_plant.issuer, None, RULES)
    delta = (await published(delta_plant.connection))["delta"]
    pem = x509.load_der_x509_certificate(delta_plant.issuer.cert_der).public_bytes(Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(pem)
    crl_pems = [x509.load_der_x509_crl(each.der).public_bytes(Encoding.PEM) for each in (old, delta)]
    (tmp_path / "old.pem").write_bytes(crl_pems[0])
    (tmp_path / "both.pem").write_bytes(b"".join(crl_pems))
    for name, leaf in (("held", held), ("later", later), ("good", good)):
        (tmp_path / f"{name}.pem").write_bytes(leaf.pem)
    verify: Callable[..., str] = lambda crl, leaf, *more: openssl(  # noqa: E731
        "verify", "-crl_check", "-extended_crl", *more, "-CAfile", tmp_path / "ca.pem",
        "-CRLfile", tmp_path / crl, tmp_path / f"{leaf}.pem",
    )  # fmt: skip
    verify("old.pem", "later")
    with pytest.raises(AssertionError, match="certificate revoked"):
        verify("old.pem", "held")
    verify("both.pem", "good", "-use_deltas")
    verify("both.pem", "held", "-use_deltas")
    with pytest.raises(AssertionError, match="certificate revoked"):
        verify("both.pem", "later", "-use_deltas")
