"""Nanoseconds of each function on the way of an answer, called from Python: the call itself is some 50 ns of each.

`make bench-micro`; never part of the tests. What they add up to in the loop, without Python, is the last one.
"""

import base64
import os
import socket
import time
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from _fastocsp.cache.response_patches import Stencils
from _fastocsp.http.headers import KnownSections
from _fastocsp.http.path import decode_get
from _fastocsp.http.request import recognise_octets
from _fastocsp.ocsp.record import pack_record, unpack_record
from _fastocsp.ocsp.request import parse_request
from _fastocsp.shared.bucket import Bucket
from _fastocsp.wire import codes
from tests.support.ca import Authority, make_authority
from tests.support.edge_loop import ISSUER_NO, Running, question, read_answer
from tests.support.http import get_octets, post_octets

SERIAL, BATCH = b"\x05" * 16, 100


@pytest.fixture(scope="module")
def authority() -> Authority:
    """A CA and its responder."""
    return make_authority()


@pytest.fixture(scope="module")
def running(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A connection loop with 10,000 records."""
    with Running(tmp_path_factory.mktemp("feed"), authority, table_bytes=64 << 20) as made:
        made.put(SERIAL)
        record = made.sign(SERIAL)
        for _ in range(10_000):
            made.table.put(ISSUER_NO, codes.SHA1, os.urandom(16).lstrip(b"\0"), record)
        yield made


def test_parse_request(benchmark: BenchmarkFixture, authority: Authority) -> None:
    """OCSPRequest from DER."""
    assert benchmark(parse_request, question(authority, SERIAL)).cert_ids[0].serial_number == SERIAL


def test_decode_get(benchmark: BenchmarkFixture, authority: Authority) -> None:
    """The path of a GET."""
    der = question(authority, SERIAL)
    assert benchmark(decode_get, base64.b64encode(der)) == der


@pytest.mark.parametrize("known", [None, KnownSections()], ids=["", "known"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_recognise(benchmark: BenchmarkFixture, authority: Authority, method: str, known: KnownSections | None) -> None:
    """A whole HTTP request, whose header section came before or not."""
    der = question(authority, SERIAL)
    octets = get_octets("/ocsp/" + base64.b64encode(der).decode()) if method == "GET" else post_octets(der)
    assert benchmark(recognise_octets, octets, 16384, known)["consumed"] == len(octets)


def test_record(benchmark: BenchmarkFixture, running: Running) -> None:
    """A record, unpacked and packed."""
    record = running.sign(SERIAL)
    assert benchmark(lambda: pack_record(unpack_record(record))) == record


def test_encode(benchmark: BenchmarkFixture, running: Running) -> None:
    """The whole OCSPResponse from template and record."""
    assert len(benchmark(running.template.encode, SERIAL, running.sign(SERIAL))) > 500


def test_write_over(benchmark: BenchmarkFixture, running: Running) -> None:
    """Head and OCSPResponse, over another one of its shape."""
    stencils, record, now = Stencils(), running.sign(SERIAL), int(time.time())
    assert len(benchmark(stencils.encode, running.template, SERIAL, record, now)) > 900


def test_table_get(benchmark: BenchmarkFixture, running: Running) -> None:
    """A record of 10,000."""
    assert benchmark(running.table.get, ISSUER_NO, codes.SHA1, SERIAL) is not None


def test_table_put(benchmark: BenchmarkFixture, running: Running) -> None:
    """A record over the one that is there."""
    assert benchmark(running.table.put, ISSUER_NO, codes.SHA1, SERIAL, running.sign(SERIAL))


def test_gate(benchmark: BenchmarkFixture, running: Running) -> None:
    """Lease and revoked set."""
    assert benchmark(running.lane.gate.check_record, ISSUER_NO, SERIAL, running.sign(SERIAL)) == 1


def test_bucket(benchmark: BenchmarkFixture) -> None:
    """The rate limit."""
    bucket = Bucket(bytearray(Bucket.size(65536)), 1_000_000_000, 1)
    assert benchmark(lambda: bucket.allow(b"\x0a\0\0\1", time.monotonic_ns()))


def test_a_hundred_hits_through_the_loop(benchmark: BenchmarkFixture, running: Running, authority: Authority) -> None:
    """Pipelined over one socket and read: all of the above and two system calls, a hundred times."""
    octets = get_octets("/ocsp/" + base64.b64encode(question(authority, SERIAL)).decode()) * BATCH
    with running.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(None)  # with one, recv would not wait for all
        client.sendall(octets)
        left = bytearray()
        size = sum(len(head) + 4 + len(body) for head, body in (read_answer(client, left) for _ in range(BATCH)))

        def ask() -> int:
            client.sendall(octets)
            return len(client.recv(size, socket.MSG_WAITALL))

        assert benchmark(ask) == size


def test_the_table_is_the_one_that_answers(running: Running) -> None:
    """No bench, a check of it: every one of those hits was a hit."""
    assert running.counted("answers:hit") > 0
    assert not running.slow
