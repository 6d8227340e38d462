"""An edge and its signer disagree: one signature tells, then the answer is bounded."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from _fastocsp.revoked.rows import merge_groups
from _fastocsp.shared.counters import Counters
from _fastocsp.table.table import Table
from cachewarm.ledger.connect import connect
from cachewarm.signer.decisions import SignerDecisions
from cachewarm.signer.inventory_cache import InventoryCache
from cachewarm.signer.server import SignerServer
from responder.clock import NS, read_clock
from responder.domain.catalog import Catalog
from responder.edge.rules import Answerer, Policy, Tiers
from responder.errors import TryLater
from responder.feed.catalog import read_issuers
from responder.feed.machine import Renew, State
from responder.feed.reports import as_entry
from responder.feed.shared import SLOT_GENERATION, SLOT_SEQ, FeedPage, SharedFeed
from responder.hotpath.gate import Gate
from responder.sources.signer import SignerSource
from responder.sources.single_flight import GuardedSource
from responder.telemetry import INDEX, ROW_SIZE
from tests.support.plant import DAY, Plant, plant

__all__ = ["plant"]

REVOKED_AT, REASON = 1_700_000_000, 1


@dataclass
class Edge:
    """An edge in front of the plant's signer, with a set of its own."""

    plant: Plant
    shared: SharedFeed
    answerer: Answerer
    counters: Counters

    def knows(self, *, is_report: bool = False) -> None:
        """The first certificate is revoked, or only reported to be, at the place where the signer is."""
        item = (1, 1, self.plant.leaves[0].serial, REVOKED_AT, REASON)
        self.shared.replace(merge_groups({}, [as_entry(item) if is_report else item]))
        position = self.plant.feed.position
        self.shared.show(position, position.seq, State.LIVE)

    async def says(self, *, nonce: bool) -> str:
        """Of the first certificate."""
        leaf = self.plant.leaves[0]
        try:
            if nonce:
                answer = await self.answerer.by_der(self._request(leaf.cert_der), b"ca")
            else:
                answer = await self.answerer.by_serial(leaf.serial.hex(), b"ca")
        except TryLater:
            return "tryLater"
        return ocsp.load_der_ocsp_response(answer.body).certificate_status.name

    def _request(self, cert_der: bytes) -> bytes:
        certificate = x509.load_der_x509_certificate(cert_der)
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, self.plant.authority.certificate, SHA256())
        builder = builder.add_extension(x509.OCSPNonce(b"0123456789abcdef"), critical=False)
        return builder.build().public_bytes(Encoding.DER)

    @property
    def signatures(self) -> int:
        """Made for this edge."""
        return self.counters.get(INDEX["signed_live"])


@pytest.fixture
async def edge(plant: Plant, tmp_path: Path) -> AsyncIterator[Edge]:
    """With a lease, and nothing revoked."""
    folder = tmp_path / "run"
    folder.mkdir()
    shared, counters = SharedFeed(folder), Counters(bytearray(ROW_SIZE))
    shared.replace({})
    now = read_clock()
    shared.renew(Renew(now.boot + 60 * NS, now.mono + 60 * NS, now.wall_s, 1, 0))
    inventory = InventoryCache(lambda: connect(plant.urls.signer))
    decisions = SignerDecisions(plant.feed, inventory, lambda: plant.ring, plant.now, DAY)
    listening = await SignerServer(decisions, queue=64).listen(tmp_path / "signer.sock")
    source = SignerSource(tmp_path / "signer.sock", 2.0, counters)
    page = FeedPage(folder)
    catalog = Catalog(
        issuers=await read_issuers(plant.connection),
        responders={1: (plant.ring.signing[1].pair.certificate,)},
    )
    guarded = GuardedSource(source, 16)
    answerer = Answerer(
        policy=Policy("strict", "try_later"),
        table=Table(1 << 20),
        gate=Gate(folder),
        tiers=Tiers(guarded, guarded, source, asyncio.Semaphore(4)),
        catalog=lambda: catalog,
        now=plant.now,
        counters=counters,
        place=lambda: (page.get(SLOT_GENERATION), page.get(SLOT_SEQ)),
    )
    yield Edge(plant, shared, answerer, counters)
    await source.close()
    await inventory.close()
    listening.close()
    shared.close()


@pytest.mark.parametrize("nonce", [False, True])
async def test_an_orphan_that_the_signer_does_not_know_costs_one_signature(edge: Edge, nonce: bool) -> None:
    """However often it is asked for, and never good."""
    edge.knows()
    assert [await edge.says(nonce=nonce) for _ in range(20)] == ["tryLater"] * 20
    assert edge.signatures == 1


@pytest.mark.parametrize("nonce", [False, True])
async def test_an_orphan_that_the_signer_knows_is_answered_revoked(edge: Edge, nonce: bool) -> None:
    """With the edge's own time and reason; without a nonce one signature serves all."""
    edge.plant.feed.apply([(1, 1, edge.plant.leaves[0].serial, REVOKED_AT, REASON)])
    edge.knows()
    assert [await edge.says(nonce=nonce) for _ in range(5)] == ["REVOKED"] * 5
    assert edge.signatures == (5 if nonce else 1)


@pytest.mark.parametrize("nonce", [False, True])
async def test_a_reported_orphan_is_answered_by_nobody_and_signed_by_nobody(edge: Edge, nonce: bool) -> None:
    """Neither good nor revoked: neither the edge nor the signer knows more than the report."""
    report = (4, 1, edge.plant.leaves[0].serial, REVOKED_AT, REASON)
    edge.plant.feed.apply([as_entry(report)])
    edge.knows(is_report=True)
    assert [await edge.says(nonce=nonce) for _ in range(5)] == ["tryLater"] * 5
    assert edge.signatures == 0


async def test_a_contradiction_ends_with_the_next_event(edge: Edge) -> None:
    """The signer hears of the revocation: what was remembered is forgotten at once."""
    edge.knows()
    assert await edge.says(nonce=False) == "tryLater"
    edge.plant.feed.apply([(1, 1, edge.plant.leaves[0].serial, REVOKED_AT, REASON)])
    position = edge.plant.feed.position
    edge.shared.show(position._replace(seq=position.seq + 1), position.seq + 1, State.LIVE)
    edge.plant.feed.show(position._replace(seq=position.seq + 1), position.seq + 1, State.LIVE)
    assert await edge.says(nonce=False) == "REVOKED"


@pytest.mark.parametrize("nonce", [True, False])
async def test_a_fenced_issuer_is_answered_by_the_edge_alone(edge: Edge, nonce: bool) -> None:
    """Whatever is answered when the lease is over: tryLater without a signature, and `revoked` for what is listed."""
    edge.answerer._policy = Policy("strict", "unauthorized")
    assert await edge.says(nonce=nonce) == "GOOD"
    made = edge.signatures
    edge.shared.apply([(1, 1, b"", REVOKED_AT, 255)])
    assert [await edge.says(nonce=nonce) for _ in range(3)] == ["tryLater"] * 3
    assert edge.signatures == made
    edge.shared.apply([(2, 1, b"", 0, 255)])
    assert await edge.says(nonce=nonce) == "GOOD"


async def test_a_fence_that_only_the_signer_knows_is_try_later_too(edge: Edge) -> None:
    """Nothing else than revocations is signed, and an edge that has a record answers it while its own lease lasts."""
    edge.plant.feed.apply([(1, 1, b"", REVOKED_AT, 255)])
    assert {await edge.says(nonce=nonce) for nonce in (True, False)} == {"tryLater"}
