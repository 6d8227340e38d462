"""A worker that is told to stop: nobody is accepted, the idle are closed, the asked answered, in bounded time."""

import contextlib
import shutil
import time
from collections.abc import Iterator

import psutil
import pytest
from cryptography.x509 import ocsp

from tests.e2e.wanted import TRY_LATER, Demo, assert_good, demo_of, status_in
from tests.support.breakage import busyness, is_within, pid_of, stopped
from tests.support.fixtures import scratch
from tests.support.http import Talk, chunked_octets, get_octets, post_octets, question
from tests.support.instance import Instance

DRAIN_S = 5


@pytest.fixture(scope="module")
def single() -> Iterator[Instance]:
    """One worker, whose signer it waits for longer than for the end."""
    folder = scratch()
    running = Instance(folder / "data", 1, 20, 2, FASTOCSP_SIGNER_TIMEOUT="20s").start()
    yield running
    running.stop()
    shutil.rmtree(folder)


def told_to_stop(instance: Instance) -> psutil.Process:
    """The worker, SIGTERM on its way."""
    worker = psutil.Process(pid_of(instance, "edge"))
    worker.terminate()
    return worker


def await_next(instance: Instance, demo: Demo, before: int) -> None:
    """Until another worker has its place, and answers."""
    deadline = time.monotonic() + 15
    while pid_of(instance, "edge") in (before, 0):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while True:
        try:
            with Talk(instance.port) as talk:
                assert_good(demo, talk.ask(get_octets(demo.path)))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def test_what_is_under_way_is_answered_in_both_lanes(single: Instance) -> None:
    """Two questions that the signer keeps, one of them handed over, are answered after SIGTERM; idle connections of
    both kinds are closed at once; the port is refused; then the worker ends and another one takes its place.
    """
    demo = demo_of(single)
    nonces = [question(demo.good_cert, demo.issuer, nonce=octet * 16) for octet in (b"n", b"m")]
    with (
        Talk(single.port) as idle,
        Talk(single.port) as idle_cold,
        Talk(single.port) as slow,
        Talk(single.port) as slow_cold,
    ):
        assert_good(demo, idle.ask(get_octets(demo.path)))
        assert_good(demo, idle_cold.ask(chunked_octets(demo.good)))
        with stopped(pid_of(single, "signer")):
            slow.socket.sendall(post_octets(nonces[0]))
            slow_cold.socket.sendall(chunked_octets(nonces[1]))
            time.sleep(0.3)
            worker = told_to_stop(single)
            assert idle.at_end()
            assert idle_cold.at_end()
            with pytest.raises(ConnectionRefusedError):
                Talk(single.port)
            assert worker.is_running()
        for talk, nonce in ((slow, b"n"), (slow_cold, b"m")):
            _, _, body = talk.read()
            assert status_in(body, demo.good_cert.serial_number) is ocsp.OCSPCertStatus.GOOD
            assert nonce * 16 in body
            assert talk.at_end()
    worker.wait(DRAIN_S)
    await_next(single, demo, worker.pid)


def test_a_drain_has_an_end(single: Instance) -> None:
    """A signer that does not come back holds the worker up for the time of a drain, and no longer: `tryLater`, or no
    answer at all, and the end.
    """
    demo = demo_of(single)
    with Talk(single.port, timeout_s=20) as slow, stopped(pid_of(single, "signer")):
        slow.socket.sendall(post_octets(question(demo.good_cert, demo.issuer, nonce=b"n" * 16)))
        time.sleep(0.3)
        begun = time.monotonic()
        worker = told_to_stop(single)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while part := slow.socket.recv(65536):
                said += part
        assert said.partition(b"\r\n\r\n")[2] in (b"", TRY_LATER)
        worker.wait(10)
        assert DRAIN_S - 1 < time.monotonic() - begun < (DRAIN_S + 3) * busyness()
    await_next(single, demo, worker.pid)


def test_a_worker_that_serves_nobody_ends_at_once(single: Instance) -> None:
    """SIGTERM without a connection: gone within two seconds, and another one answers."""
    demo = demo_of(single)
    begun = time.monotonic()
    worker = told_to_stop(single)
    worker.wait(5)
    assert is_within(begun, 2)
    await_next(single, demo, worker.pid)
