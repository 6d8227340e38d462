"""The estimate of an issuer's coverage, and which records count."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from _fastocsp.ocsp.record import pack_record, unpack_record
from cachewarm.ledger.connect import connect
from responder.domain.catalog import Catalog
from responder.domain.key import Key
from responder.domain.status import PRESIGNED
from responder.edge.coverage import (
    COVERAGE_NAME,
    LEAST,
    CoverageReport,
    Estimate,
    IssuerSample,
    ReportReader,
    Samples,
    Usable,
    choose_keys,
    read_report,
)
from responder.feed.catalog import read_ledger
from responder.feed.crl_files import CRLFiles
from responder.feed.inventory import SampledCertificate
from tests.support.plant import Plant, plant

__all__ = ["plant"]


def test_an_import_is_uncovered_until_newer_look_ups_find_it() -> None:
    """A million are covered, 300,000 come: the share falls at once, and rises with what is found among all of them."""
    sample = IssuerSample()
    for at in range(5):
        sample.add(float(at), 1_000_000, 64, 64)
    assert sample.estimate(1_000_000).share == 1.0
    assert sample.estimate(1_300_000)[:2] == (1_300_000, 1_000_000)
    for at in range(5, 10):
        sample.add(float(at), 1_300_000, 64, 49)
    assert 0.75 < sample.estimate(1_300_000).share < 0.78
    for at in range(10, 15):
        sample.add(float(at), 1_300_000, 64, 64)
    assert sample.estimate(1_300_000).share == 1.0


def test_lost_records_show_within_seconds_and_a_small_sample_is_kept_for_long() -> None:
    """With many look-ups those of seconds ago count no more; with few, the last LEAST of any age do."""
    sample = IssuerSample()
    sample.add(0.0, 1000, 64, 64)
    sample.add(10.0, 1000, 64, 21)
    assert sample.estimate(1000)[1:3] == (328, 64)
    slow = IssuerSample()
    for hour in range(20):
        slow.add(hour * 3600.0, 1000, 4, 4)
    assert LEAST <= slow.looked < LEAST + 32
    assert slow.estimate(1000).at == 19 * 3600.0


def test_an_inventory_smaller_than_a_sample_is_judged_by_its_own_size() -> None:
    """Five certificates, all looked up in each turn: a loss shows in the next one, not after ten."""
    sample = IssuerSample()
    for at in (0.0, 10.0):
        sample.add(at, 5, 5, 5)
    sample.add(20.0, 5, 5, 0)
    assert sample.estimate(5).covered <= 2


def test_issuers_take_turns_and_those_drawn_by_lot_are_passed_over() -> None:
    """Four per turn of seven, from where each one's last page ended; an issuer that the lot fell on is not read."""
    samples = Samples()
    samples.take_counts({}, Catalog())
    samples._unexpired = dict.fromkeys("abcdefg", 100)
    samples._cursors = dict.fromkeys("abcdefg", b"")
    samples._order.extend("abcdefg")
    assert list(samples.next_issuers(4, ["b"] * 20)) == ["a", "c", "d", "e"]
    page = [SampledCertificate("a", bytes([number]), 0.0) for number in range(1, 5)]
    samples.go_on({"a": page, "c": page[:2]}, 4)
    assert samples.next_issuers(4, []) == {"f": b"", "g": b"", "a": b"\x04", "b": b""}


def test_a_report_is_read_again_when_it_was_replaced(tmp_path: Path) -> None:
    """What the master wrote is what a worker reads; no file, a damaged one and one of another version are none."""
    reader = ReportReader(tmp_path)
    assert reader.read() is None
    report = CoverageReport(at=1.0, whole=Estimate(5, 4, 48, 1.0), issuers={"ca": Estimate(5, 4, 48, 1.0)})
    report.write(tmp_path)
    assert reader.read() == report
    report.is_started = True
    report.write(tmp_path)
    assert reader.read() == report
    for text in ("{", json.dumps({"issuers": {}, "of the next version": 1})):
        (tmp_path / COVERAGE_NAME).write_text(text)
        assert read_report(tmp_path) is None


@pytest.fixture
async def catalog(plant: Plant, tmp_path: Path) -> AsyncIterator[Catalog]:
    """As the edge's master reads it."""
    connection = await connect(plant.urls.edge, check=False)
    yield await read_ledger(connection, CRLFiles(tmp_path), Catalog())
    await connection.close()


async def test_a_record_counts_only_if_an_edge_would_serve_it(plant: Plant, catalog: Catalog) -> None:
    """Of the right responder and hash, in its window, in agreement with the revoked set, and with a right signature."""
    await plant.walk()
    key = Key(1, PRESIGNED[0], plant.leaves[0].serial)
    [octets] = await plant.publisher.kept([key])
    assert octets is not None
    record, now = unpack_record(octets), float(plant.now())
    nothing_revoked = Usable(catalog, lambda *_: None, now)
    assert nothing_revoked.is_usable(key, octets)
    assert nothing_revoked.verify(key, octets)
    assert not nothing_revoked.is_usable(key, None)
    assert not nothing_revoked.is_usable(key, b"no record")
    assert not nothing_revoked.is_usable(key._replace(hash_algorithm=PRESIGNED[1]), octets)
    assert not nothing_revoked.is_usable(key._replace(issuer_no=2), octets)
    assert not nothing_revoked.is_usable(key, pack_record(record._replace(responder=bytes(8))))
    assert not Usable(catalog, lambda *_: None, float(record.next_update)).is_usable(key, octets)
    assert not Usable(catalog, lambda *_: (1_700_000_000, 1), now).is_usable(key, octets)
    assert not nothing_revoked.verify(key._replace(serial=plant.leaves[1].serial), octets)


async def test_certificates_of_unknown_issuers_and_expired_ones_are_not_looked_up(
    plant: Plant, catalog: Catalog
) -> None:
    """What may have no record by right says nothing about the coverage."""
    now = float(plant.now())
    rows = [
        SampledCertificate("ca", b"\x01", now + 3600),
        SampledCertificate("ca", b"\x02", now - 1),
        SampledCertificate("another", b"\x03", now + 3600),
    ]
    assert [(name, key.issuer_no, key.serial) for name, key in choose_keys(rows, catalog, now)] == [("ca", 1, b"\x01")]
