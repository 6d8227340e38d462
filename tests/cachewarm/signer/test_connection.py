"""The signer's socket under many questions: batches, turns, an edge that does not read, a ledger that is away."""

import asyncio
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.ocsp.signer_wire import DONE, pack_asked, pack_frame, split_frames, unpack_signed
from _fastocsp.wire.codes import GOOD, REVOKED, TRY_LATER, UNAUTHORIZED
from cachewarm.keys.signing_key import SigningKey
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.revocations import revoke
from cachewarm.records.keyring import Keyring
from cachewarm.signer.decisions import SignerDecisions
from cachewarm.signer.inventory_cache import InventoryCache, Unreachable
from cachewarm.signer.server import BATCH, SignerServer
from responder.domain.status import UnissuedPolicy
from responder.feed.local import LocalFeed
from tests.support.breakage import is_within
from tests.support.plant import DAY, Plant

STRANGER = bytes.fromhex("0badc0de0badc0de")


class Edge:
    """An edge's end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self._left = reader, writer, b""

    @classmethod
    async def connect(cls, path: Path) -> "Edge":
        """To the signer there."""
        return cls(*await asyncio.open_unix_connection(str(path)))

    async def hear(self, count: int) -> list[tuple[int, int, bytes]]:
        """So many frames."""
        frames: list[tuple[int, int, bytes]] = []
        async with asyncio.timeout(10):
            while True:
                more, used = split_frames(self._left, count - len(frames))
                frames, self._left = frames + more, self._left[used:]
                if len(frames) == count:
                    return frames
                part = await self.reader.read(65536)
                assert part
                self._left += part

    async def ask(self, octets: bytes, count: int) -> dict[int, tuple[int, bytes]]:
        """(outcome, body) by number."""
        self.writer.write(octets)
        return {number: (kind, body) for number, kind, body in await self.hear(count)}


class SignerUnderTest:
    """A server, its path, its parts."""

    def __init__(self, plant: Plant, folder: Path, *, queue: int = 64) -> None:
        self.plant, self.path = plant, folder / "line.sock"
        self.issued = InventoryCache(lambda: connect(plant.urls.signer))
        self.decisions = SignerDecisions(plant.feed, self.issued, lambda: plant.ring, plant.now, DAY)
        self.server = SignerServer(self.decisions, queue)

    def question(self, number: int, nonce: bytes, leaf: int = 0, algorithm: int = 1) -> bytes:
        """About one of the five."""
        return pack_asked(number, self.plant.issuer.issuer_no, algorithm, self.plant.leaves[leaf].serial, nonce)

    async def learn(self) -> None:
        """Every certificate is known from here on."""
        for leaf in self.plant.leaves:
            await self.issued.not_after(self.plant.issuer.issuer_no, leaf.serial)


@pytest.fixture
async def under_test(plant: Plant, tmp_path: Path) -> AsyncIterator[SignerUnderTest]:
    """Listening."""
    made = SignerUnderTest(plant, tmp_path)
    listening = await made.server.listen(made.path)
    yield made
    listening.close()
    await made.issued.close()


async def test_each_question_of_a_batch_has_its_own_answer(under_test: SignerUnderTest) -> None:
    """Batches in one write, every hash in each, unknown and then known: nonce, serial, hash and status bit for bit."""
    edge = await Edge.connect(under_test.path)
    nonces = [os.urandom(1 + n % 32) for n in range(3 * BATCH)]
    for _ in range(2):
        octets = b"".join(under_test.question(n, nonce, n % 5, 1 + n % 4) for n, nonce in enumerate(nonces))
        answers = await edge.ask(octets, len(nonces))
        for n, nonce in enumerate(nonces):
            outcome, body = answers[n]
            signed = unpack_signed(body)
            assert outcome == DONE
            assert signed is not None
            response = ocsp.load_der_ocsp_response(signed[1])
            assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
            assert response.serial_number == int.from_bytes(under_test.plant.leaves[n % 5].serial)
            record = unpack_record(signed[0])
            assert (record.status, record.hash_algorithm) == (GOOD, 1 + n % 4)
            assert response.hash_algorithm.name == ("sha1", "sha256", "sha384", "sha512")[n % 4]
            certificate = under_test.plant.ring.signing[under_test.plant.issuer.issuer_no].pair.certificate
            certificate.verify(response.signature, response.tbs_response_bytes)
    edge.writer.close()


async def test_what_memory_knows_needs_no_task_and_no_place(plant: Plant, tmp_path: Path) -> None:
    """With the queue full of those who wait for a ledger that hangs, known certificates are answered, others later."""
    made, hanging = SignerUnderTest(plant, tmp_path, queue=2), asyncio.Event()
    await made.learn()
    await made.issued.close()

    async def hang() -> Connection:
        await hanging.wait()
        raise ConnectionRefusedError

    made.issued._connect, made.issued._connection = hang, None
    listening = await made.server.listen(made.path)
    edge = await Edge.connect(made.path)
    strange = [pack_asked(n, plant.issuer.issuer_no, 1, STRANGER, b"n") for n in range(3)]
    answers = await edge.ask(b"".join(strange) + made.question(9, b"n" * 32), 2)
    assert {number: kind for number, (kind, _) in answers.items()} == {2: TRY_LATER, 9: DONE}
    assert made.server.under_way == 2
    assert {kind for _, kind, _ in await edge.hear(2)} == {TRY_LATER}
    assert made.server.under_way == 0
    edge.writer.close()
    listening.close()


async def test_a_revocation_heard_is_in_the_next_answer(under_test: SignerUnderTest) -> None:
    """Though the certificate is known and `good` was said of it a moment ago, and of its neighbours in this batch."""
    await under_test.learn()
    edge = await Edge.connect(under_test.path)
    assert await status(edge, under_test.question(1, b"n")) == GOOD
    done = await revoke(under_test.plant.connection, "ca", under_test.plant.leaves[0].serial, actor="t")
    await under_test.plant.heard(done.seq)
    octets = b"".join(under_test.question(n, b"n", leaf) for n, leaf in enumerate([1, 0, 2, 0]))
    answers = await edge.ask(octets, 4)
    assert [stated(answers[n][1]) for n in range(4)] == [GOOD, REVOKED, GOOD, REVOKED]
    edge.writer.close()


async def status(edge: Edge, question: bytes) -> int:
    """Of one certificate."""
    ((_, body),) = (await edge.ask(question, 1)).values()
    return stated(body)


def stated(body: bytes) -> int:
    """The record's status."""
    signed = unpack_signed(body)
    assert signed is not None
    return unpack_record(signed[0]).status


async def test_refusals_stand_in_the_batch_like_answers(under_test: SignerUnderTest) -> None:
    """An issuer without a pair, a hash without a template, a serial never issued: each ends its own question."""
    await under_test.learn()
    number, serial = under_test.plant.issuer.issuer_no, under_test.plant.leaves[0].serial
    under_test.issued._keep((number + 1, serial), under_test.issued.recent[number, serial])
    octets = (
        under_test.question(1, b"n")
        + pack_asked(2, number + 1, 1, serial, b"n")
        + pack_asked(3, number, 9, serial, b"n")
        + pack_asked(4, number, 1, STRANGER, b"n")
        + pack_frame(5, 2, b"nonsense")
        + under_test.question(6, b"n")
    )
    edge = await Edge.connect(under_test.path)
    answers = await edge.ask(octets, 6)
    outcomes = [answers[n][0] for n in range(1, 7)]
    assert outcomes == [DONE, TRY_LATER, UNAUTHORIZED, UNAUTHORIZED, UNAUTHORIZED, DONE]
    edge.writer.close()


@pytest.mark.parametrize("kind", ["no keys", "no lease"])
async def test_without_keys_or_lease_known_certificates_are_told_to_try_later(
    plant: Plant, tmp_path: Path, kind: str
) -> None:
    """The short way asks what the long one asks."""
    made = SignerUnderTest(plant, tmp_path)
    await made.learn()
    feed = LocalFeed(plant.feed._clock) if kind == "no lease" else plant.feed
    ring = Keyring() if kind == "no keys" else plant.ring
    made.server = SignerServer(SignerDecisions(feed, made.issued, lambda: ring, plant.now, DAY), 9)
    listening = await made.server.listen(made.path)
    edge = await Edge.connect(made.path)
    assert (await edge.ask(made.question(1, b"n"), 1))[1] == (TRY_LATER, b"")
    edge.writer.close()
    listening.close()
    await made.issued.close()


@pytest.mark.parametrize("policy", list(UnissuedPolicy))
async def test_both_ways_say_the_same(under_test: SignerUnderTest, policy: UnissuedPolicy) -> None:
    """A certificate asked about for the first time (a task) and the second (none): the same statement."""
    await under_test.plant.connection.execute("update issuers set unissued_policy = $1", policy.value)
    await under_test.plant.read_ring()
    edge = await Edge.connect(under_test.path)
    records = []
    for number in range(2):
        answers = await edge.ask(under_test.question(number, b"n"), 1)
        signed = unpack_signed(answers[number][1])
        assert signed is not None
        records.append(unpack_record(signed[0]))
    first, second = records
    first_said, second_said = (each._replace(this_update=0, next_update=0, produced_at=0) for each in records)
    assert first_said == second_said
    assert abs(first.next_update - second.next_update) <= 5
    edge.writer.close()


async def test_an_edge_with_much_to_ask_does_not_hold_up_another(under_test: SignerUnderTest) -> None:
    """A thousand questions first, then one on another connection: it is answered long before they are."""
    await under_test.learn()
    greedy, modest = await Edge.connect(under_test.path), await Edge.connect(under_test.path)
    await modest.ask(under_test.question(0, b"n"), 1)
    greedy.writer.write(b"".join(under_test.question(n, b"n" * 32) for n in range(1000)))
    await greedy.hear(1)
    await modest.ask(under_test.question(1, b"n"), 1)
    heard_by_then = len(split_frames(greedy.reader._buffer and bytes(greedy.reader._buffer), 1000)[0])  # type: ignore[attr-defined]
    assert heard_by_then < 500
    await greedy.hear(999)
    greedy.writer.close()
    modest.writer.close()


async def test_an_edge_that_does_not_read_holds_nobody_up(under_test: SignerUnderTest) -> None:
    """Others are answered meanwhile, and so is it when it reads: every question once."""
    await under_test.learn()
    deaf, other = await Edge.connect(under_test.path), await Edge.connect(under_test.path)
    deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]
    many = b"".join(under_test.question(n, b"n" * 32) for n in range(3000))
    deaf.writer.write(many)
    await asyncio.sleep(0.5)
    begun = time.monotonic()
    await other.ask(under_test.question(1, b"n"), 1)
    assert is_within(begun, 0.5)
    deaf.reader._transport.resume_reading()  # type: ignore[attr-defined]
    answers = await deaf.hear(3000)
    assert sorted(number for number, _, _ in answers) == list(range(3000))
    assert {kind for _, kind, _ in answers} == {DONE}
    for edge in (deaf, other):
        edge.writer.close()


class SlowKey:
    """A key in an HSM that takes its time; the rest of it is the plant's."""

    def __init__(self, key: SigningKey, seconds: float) -> None:
        self._key, self._seconds = key, seconds

    def sign(self, tbs: bytes) -> bytes:
        """Later."""
        time.sleep(self._seconds)
        return self._key.sign(tbs)


async def test_a_slow_key_makes_batches_small(under_test: SignerUnderTest) -> None:
    """Forty questions that take 20 ms each: another edge is answered after a few of them, not after a batch of 16."""
    await under_test.learn()
    number = under_test.plant.issuer.issuer_no
    signing = under_test.plant.ring.signing[number]
    pair = dataclasses.replace(signing.pair, key=SlowKey(signing.pair.key, 0.02))  # type: ignore[arg-type]
    slow = {number: dataclasses.replace(signing, pair=pair)}
    under_test.plant.ring = dataclasses.replace(under_test.plant.ring, signing=slow)
    greedy, modest = await Edge.connect(under_test.path), await Edge.connect(under_test.path)
    await modest.ask(under_test.question(0, b"n"), 1)
    greedy.writer.write(b"".join(under_test.question(n, b"n" * 32) for n in range(40)))
    await greedy.hear(1)
    for n in range(3):
        begun = time.monotonic()
        await modest.ask(under_test.question(n, b"n"), 1)
        assert is_within(begun, 8 * 0.02)
    await greedy.hear(39)
    greedy.writer.close()
    modest.writer.close()


class Defect(Exception):
    """Nobody foresaw it."""


@pytest.mark.parametrize(
    "error", [Defect(), RuntimeError("x"), asyncio.CancelledError()], ids=lambda e: type(e).__name__
)
async def test_whatever_asking_the_ledger_raises_nobody_hangs(plant: Plant, error: BaseException) -> None:
    """Who asked, who came meanwhile and who comes a second later all hear something, and the last the truth."""
    fails = True

    async def unsure() -> Connection:
        await asyncio.sleep(0.05)
        if fails:
            raise error
        return await connect(plant.urls.signer)

    issued = InventoryCache(unsure)
    number, serials = plant.issuer.issuer_no, [leaf.serial for leaf in plant.leaves]
    first = [asyncio.create_task(issued.not_after(number, serial)) for serial in serials[:2]]
    await asyncio.sleep(0.02)
    meanwhile = asyncio.create_task(issued.not_after(number, serials[2]))
    async with asyncio.timeout(5):
        found = await asyncio.gather(*first, meanwhile, return_exceptions=True)
        assert [type(each) for each in found] == [Unreachable] * 3
        fails = False
        await asyncio.sleep(1.1)
        assert await issued.not_after(number, serials[0]) is not None
    await issued.close()


_AS_ANOTHER_ACCOUNT = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
line = socket.socket(socket.AF_UNIX)
line.settimeout(20)
line.connect(sys.argv[1])
try:
    line.sendall(bytes.fromhex(sys.argv[2]))
    print(len(line.recv(65536)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
"""


@pytest.mark.parametrize(("uids", "admitted"), [((12345,), False), ((65534,), True)], ids=["others", "named"])
async def test_peer_of_another_account_is_answered_only_if_it_is_named(
    plant: Plant, own_folder: Path, uids: tuple[int, ...], *, admitted: bool
) -> None:
    """The socket is open to all then; the kernel says who connected."""
    own_folder.chmod(0o755)
    made = SignerUnderTest(plant, own_folder)
    made.server = SignerServer(made.decisions, 9, uids)
    listening = await made.server.listen(made.path)
    words = [sys.executable, "-c", _AS_ANOTHER_ACCOUNT, str(made.path), made.question(1, b"n" * 8).hex()]
    run = partial(subprocess.run, words, capture_output=True, text=True, timeout=30, check=False, cwd="/")
    done = await asyncio.to_thread(run)
    assert (int(done.stdout) > 0) == admitted, done.stderr
    listening.close()
    await made.issued.close()
