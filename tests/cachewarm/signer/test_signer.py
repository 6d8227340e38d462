"""The signer decides each status itself, and says tryLater rather than anything it does not know."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.shared.counters import Counters
from _fastocsp.wire.codes import GOOD, INTERNAL_ERROR, REVOKED, UNAUTHORIZED, UNKNOWN
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.revocations import revoke, unhold
from cachewarm.records.keyring import Keyring
from cachewarm.signer.decisions import SignerDecisions
from cachewarm.signer.inventory_cache import InventoryCache
from cachewarm.signer.server import SignerServer, outcome_of
from responder.clock import read_clock
from responder.domain.key import Key
from responder.domain.status import CRLReason, UnissuedPolicy
from responder.errors import SourceError, TryLater, Unauthorized
from responder.feed.local import LocalFeed
from responder.sources.signer import SignerSource
from responder.telemetry import ROW_SIZE
from tests.reference.asking import HEAD as FRAME
from tests.support.plant import DAY, Plant

STRANGER = bytes.fromhex("0badc0de0badc0de")


@pytest.fixture
async def issued(plant: Plant) -> AsyncIterator[InventoryCache]:
    """The inventory, asked with the reader's rights."""
    asking = InventoryCache(lambda: connect(plant.urls.signer))
    yield asking
    await asking.close()


@pytest.fixture
async def decisions(plant: Plant, issued: InventoryCache) -> SignerDecisions:
    """A decisions for this plant."""
    return SignerDecisions(plant.feed, issued, lambda: plant.ring, plant.now, DAY)


@pytest.fixture
async def source(decisions: SignerDecisions, tmp_path: Path) -> AsyncIterator[SignerSource]:
    """The edge's side of a signer that serves this plant."""
    server = SignerServer(decisions, queue=64)
    path = tmp_path / "signer.sock"
    listening = await server.listen(path)
    asking = SignerSource(path, 2.0, Counters(bytearray(ROW_SIZE)))
    yield asking
    await asking.close()
    listening.close()


def key_of(plant: Plant, number: int = 0, algorithm: int = 2) -> Key:
    """One of the five."""
    return Key(plant.issuer.issuer_no, algorithm, plant.leaves[number].serial)


async def set_policy(plant: Plant, policy: UnissuedPolicy) -> None:
    """What never-issued serials are told."""
    await plant.connection.execute("update issuers set unissued_policy = $1", policy.value)
    await plant.read_ring()


async def test_good_then_revoked_then_good(plant: Plant, source: SignerSource) -> None:
    """The same question follows the ledger: good, held, released; always verified by the responder's key."""
    key = key_of(plant)
    for expected in (GOOD, REVOKED, GOOD):
        found = await source.fetch(key)
        assert found is not None
        record = unpack_record(found.record)
        assert record.status == expected
        signing = plant.ring.signing[key.issuer_no]
        signing.pair.certificate.verify(record.signature, signing.templates[2].tbs(key.serial, record))
        if expected == GOOD:
            done = await revoke(plant.connection, "ca", key.serial, reason=CRLReason.certificateHold, actor="t")
        else:
            done = await unhold(plant.connection, "ca", key.serial, actor="t")
        await plant.heard(done.seq)


async def test_a_nonce_is_answered_for_several_certificates(plant: Plant, source: SignerSource) -> None:
    """One response: the nonce, a SingleResponse for each, and the records that it states for the gate."""
    keys = [key_of(plant, number) for number in range(3)]
    signed = await source.answer(keys, b"0123456789abcdef")
    response = ocsp.load_der_ocsp_response(signed.der)
    assert [each.serial_number.to_bytes(16, "big").lstrip(b"\0") for each in response.responses] == [
        k.serial for k in keys
    ]
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"0123456789abcdef"
    assert [unpack_record(record).status for record in signed.records] == [GOOD] * 3


@pytest.mark.parametrize(
    ("policy", "status"),
    [(UnissuedPolicy.UNKNOWN, UNKNOWN), (UnissuedPolicy.GOOD, GOOD), (UnissuedPolicy.EXTENDED_REVOKE, REVOKED)],
)
async def test_never_issued_serials_follow_the_policy_and_are_not_kept(
    plant: Plant, source: SignerSource, policy: UnissuedPolicy, status: int
) -> None:
    """RFC 6960 2.2: unknown, good or the extended form (hold at 1970), never storable."""
    await set_policy(plant, policy)
    found = await source.fetch(Key(plant.issuer.issuer_no, 2, STRANGER))
    assert found is not None
    assert not found.storable
    record = unpack_record(found.record)
    assert record.status == status
    if policy is UnissuedPolicy.EXTENDED_REVOKE:
        assert (record.revocation_time, record.reason, record.flags) == (0, CRLReason.certificateHold, 1)


async def test_our_own_responder_certificate_was_issued(plant: Plant, source: SignerSource) -> None:
    """The extended form of revoked is for what was never issued, and not for what the warmer made."""
    await set_policy(plant, UnissuedPolicy.EXTENDED_REVOKE)
    serial = await plant.connection.fetchval("select serial_number from ocsp_responder_certs")
    found = await source.fetch(Key(plant.issuer.issuer_no, 2, serial))
    assert found is not None
    assert unpack_record(found.record).status == GOOD


async def test_a_serial_never_issued_is_refused_by_default(plant: Plant, source: SignerSource) -> None:
    """BR 4.9.9: never good; we say unauthorized."""
    with pytest.raises(Unauthorized):
        await source.fetch(Key(plant.issuer.issuer_no, 1, STRANGER))


async def test_before_the_keys_are_read_nothing_is_refused_for_good(plant: Plant, issued: InventoryCache) -> None:
    """A signer that has just started, perhaps without a ledger: tryLater, and not unauthorized, for every issuer."""
    decisions = SignerDecisions(plant.feed, issued, Keyring, plant.now, DAY)
    for question in (decisions.record(key_of(plant)), decisions.answer([key_of(plant)], b"nonce")):
        with pytest.raises(TryLater):
            await question


@pytest.mark.parametrize("stepped_s", [-90, -2])
async def test_a_wall_clock_that_stepped_back_signs_no_good(
    plant: Plant, issued: InventoryCache, stepped_s: int
) -> None:
    """Before the next poll notices the step, `good` would be signed as of a time before the lease."""
    await plant.heard(0)

    def against_the_lease(seconds: int) -> Callable[[], int]:
        """The wall clock, whatever lease there is by then: polls go on."""
        return lambda: (plant.feed.as_of or 0) + seconds

    decisions = SignerDecisions(plant.feed, issued, lambda: plant.ring, against_the_lease(stepped_s), DAY)
    with pytest.raises(TryLater):
        await decisions.record(key_of(plant))
    slewed = SignerDecisions(plant.feed, issued, lambda: plant.ring, against_the_lease(-1), DAY)
    assert unpack_record((await slewed.record(key_of(plant))).record).status == GOOD


async def test_without_a_lease_nothing_is_good_but_revoked_is_said(plant: Plant, issued: InventoryCache) -> None:
    """A decisions whose feed never had word from Postgres: tryLater for good, revoked from the set it kept."""
    deaf = LocalFeed(read_clock)
    decisions = SignerDecisions(deaf, issued, lambda: plant.ring, plant.now, DAY)
    with pytest.raises(TryLater):
        await decisions.record(key_of(plant))
    deaf.apply([(1, plant.issuer.issuer_no, plant.leaves[0].serial, plant.now() - 60, 1)])
    assert unpack_record((await decisions.record(key_of(plant))).record).status == REVOKED


async def test_without_the_inventory_only_revoked_is_said(plant: Plant) -> None:
    """The ledger cannot be asked: a revoked certificate is answered, for an hour; any other one later."""

    async def refused() -> None:
        raise ConnectionRefusedError

    decisions = SignerDecisions(plant.feed, InventoryCache(refused), lambda: plant.ring, plant.now, DAY)  # type: ignore[arg-type]
    with pytest.raises(TryLater):
        await decisions.record(key_of(plant, 1))
    done = await revoke(plant.connection, "ca", plant.leaves[1].serial, actor="t")
    await plant.heard(done.seq)
    record = unpack_record((await decisions.record(key_of(plant, 1))).record)
    assert record.status == REVOKED
    assert record.next_update - record.this_update <= 3600


async def test_a_ledger_that_hangs_holds_no_revoked_answer_up(plant: Plant) -> None:
    """It accepts and never answers (SIGSTOP): `revoked` is said within SIGNER_TIMEOUT, then without any wait; a
    ledger that answers again is asked again.
    """
    hanging = asyncio.Event()

    async def hang() -> Connection:
        await hanging.wait()
        return await connect(plant.urls.signer)

    done = await revoke(plant.connection, "ca", plant.leaves[1].serial, actor="t")
    await plant.heard(done.seq)
    issued = InventoryCache(hang)
    decisions = SignerDecisions(plant.feed, issued, lambda: plant.ring, plant.now, DAY)
    for patience_s in (1.8, 0.1):
        async with asyncio.timeout(patience_s):
            assert unpack_record((await decisions.record(key_of(plant, 1))).record).status == REVOKED
    hanging.set()
    await asyncio.sleep(1.1)
    assert unpack_record((await decisions.record(key_of(plant))).record).status == GOOD
    await issued.close()


async def test_a_full_queue_says_try_later(plant: Plant, decisions: SignerDecisions, tmp_path: Path) -> None:
    """The bound is kept: what does not fit is refused at once, what fits is answered."""
    server = SignerServer(decisions, queue=2)
    listening = await server.listen(tmp_path / "small.sock")
    asking = SignerSource(tmp_path / "small.sock", 5.0, Counters(bytearray(ROW_SIZE)))
    answers = await asyncio.gather(*(asking.fetch(key_of(plant, n % 5)) for n in range(40)), return_exceptions=True)
    assert any(isinstance(answer, TryLater) for answer in answers)
    assert any(not isinstance(answer, BaseException) for answer in answers)
    assert await asking.fetch(key_of(plant)) is not None
    await asking.close()
    listening.close()


async def test_frames_that_are_none_end_their_connection_alone(
    plant: Plant, tmp_path: Path, source: SignerSource
) -> None:
    """Rubbish on one connection; the next question on another one is answered."""
    for octets in (b"\xff" * 64, FRAME.pack(5, 1, 9), FRAME.pack(1 << 24, 1, 1), FRAME.pack(2, 1, 1)):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "signer.sock"))
        writer.write(octets)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
    for body in (b"", b"\0", b"\0\0\1", b"\0" * 30):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "signer.sock"))
        writer.write(FRAME.pack(5 + len(body), 7, 1) + body)
        async with asyncio.timeout(5):
            length, number, outcome = FRAME.unpack(await reader.readexactly(FRAME.size))
        assert (length, number, outcome) == (5, 7, 6)
        writer.close()
    assert await source.fetch(key_of(plant)) is not None


async def test_a_signer_that_is_gone_is_an_error_of_the_source(tmp_path: Path) -> None:
    """No socket: SourceError at once, for the guard to turn into tryLater."""
    with pytest.raises(SourceError):
        await SignerSource(tmp_path / "nobody.sock", 1.0, Counters(bytearray(ROW_SIZE))).fetch(Key(1, 1, b"\1"))


def test_a_record_that_cannot_be_minted_is_an_internal_error() -> None:
    """A defect is no statement about the certificate: `unauthorized` would say that it was never issued."""
    assert outcome_of(ValueError("times in the wrong order")) == INTERNAL_ERROR
    assert outcome_of(Unauthorized()) == UNAUTHORIZED
