"""Limits of the loop: times, connections, requests a minute, clients that do not read, and the end."""

import base64
import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.support.breakage import busyness
from tests.support.ca import Authority
from tests.support.edge_loop import Running, ask, question, read_answer, until
from tests.support.http import chunked_octets, get_octets, post_octets

GOOD, ABSENT = b"\x05" * 8, b"\x07" * 8


def get(running: Running, extra: str = "") -> bytes:
    """A GET about the good one."""
    return get_octets("/ocsp/" + base64.b64encode(question(running.authority, GOOD)).decode(), extra)


def post(running: Running, serial: bytes = GOOD) -> bytes:
    """A POST about that serial."""
    return post_octets(question(running.authority, serial))


def send_all(client: socket.socket, parts: Iterable[bytes], pause_s: float = 0.0) -> None:
    """One after the other."""
    for part in parts:
        client.sendall(part)
        time.sleep(pause_s)


def cut_off_after(client: socket.socket) -> float:
    """Seconds until the server ends the connection."""
    begun = time.monotonic()
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - begun


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /ocsp/MA HTTP/1.1\r\nHost"], ids=["nothing", "an octet", "half"])
def test_who_stops_in_a_request_is_cut_off(tmp_path: Path, authority: Authority, sent: bytes) -> None:
    """H-34: the patience for a request, neither shorter nor much longer."""
    with Running(tmp_path, authority, patience_s=0.5, idle_s=5) as running, running.connect() as client:
        client.sendall(sent)
        assert 0.4 < cut_off_after(client) < 1.2
        assert running.counted("timed_out") == 1


def test_who_trickles_is_cut_off(tmp_path: Path, authority: Authority) -> None:
    """Bytes that come one by one do not prolong the time of the request that they belong to."""
    with Running(tmp_path, authority, patience_s=0.5, idle_s=5) as running, running.connect() as client:
        running.put(GOOD)
        ask(client, get(running))
        begun = time.monotonic()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_all(client, (bytes((octet,)) for octet in get(running)), 0.05)
        assert 0.4 < time.monotonic() - begun < 1.5 * busyness()


def test_who_is_idle_is_cut_off_later(tmp_path: Path, authority: Authority) -> None:
    """After an answer the other time counts, from that answer on; the end is an end, no reset."""
    with Running(tmp_path, authority, patience_s=0.3, idle_s=0.9) as running:
        running.put(GOOD)
        for serial in (GOOD, ABSENT):
            with running.connect() as client:
                ask(client, post(running, serial))
                time.sleep(0.5)
                ask(client, post(running, serial))
                assert 0.8 < cut_off_after(client) < 1.6
        assert running.counted("timed_out") == 2


def test_a_slow_answer_has_no_deadline_of_the_connection(tmp_path: Path, authority: Authority) -> None:
    """How long Python may think is its own limit's business."""
    with (
        Running(tmp_path, authority, patience_s=0.2, idle_s=0.2, answers=False) as running,
        running.connect() as client,
    ):
        client.sendall(post(running, ABSENT))
        until(lambda: running.held)
        time.sleep(0.6)
        running.release()
        assert read_answer(client, bytearray())[1] == b"slow"


def test_who_does_not_read_is_cut_off(tmp_path: Path, authority: Authority) -> None:
    """Answers that nobody fetches end the connection by a reset; what is kept of them is one buffer."""
    with Running(tmp_path, authority, reading_s=0.5) as running:
        running.put(GOOD)
        octets = get(running) * 1000
        with running.connect() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                send_all(deaf, itertools.repeat(octets))
        assert running.counted("timed_out") == 1
        assert running.counted("answers:hit") < 20000
        with running.connect() as client:
            assert ask(client, get(running))[0].startswith(b"HTTP/1.1 200")


def test_thousands_of_pipelined_requests_read_late(tmp_path: Path, authority: Authority) -> None:
    """More than all buffers hold, with and without slow ones: every one is answered, in order."""
    with Running(tmp_path, authority) as running:
        body = running.put(GOOD)
        order = [ABSENT if n % 97 == 0 else GOOD for n in range(6000)]
        octets = b"".join(post(running, serial) for serial in order)
        with running.connect(20) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sending = threading.Thread(target=client.sendall, args=(octets,))
            sending.start()
            time.sleep(0.3)
            left = bytearray()
            for serial in order:
                assert read_answer(client, left)[1] == (body if serial == GOOD else b"slow")
            sending.join()


def test_slow_answers_queue_behind_answers_that_wait_to_be_read(tmp_path: Path, authority: Authority) -> None:
    """A client that reads late, and whose every twentieth request is slow: an answer that comes while others wait goes
    behind them.
    """
    with Running(tmp_path, authority) as running:
        body = running.put(GOOD)
        order = [ABSENT if n % 20 == 19 else GOOD for n in range(8000)]
        octets = b"".join(post(running, serial) for serial in order)
        for _ in range(3):
            with running.connect(20) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                sending = threading.Thread(target=client.sendall, args=(octets,))
                sending.start()
                time.sleep(0.5)
                left = bytearray()
                for serial in order:
                    assert read_answer(client, left)[1] == (body if serial == GOOD else b"slow")
                sending.join()


def test_answers_before_a_slow_last_one_do_not_wait_for_it(tmp_path: Path, authority: Authority) -> None:
    """What is held back to leave with the end of a connection is its last answer, not those before it."""
    with Running(tmp_path, authority, answers=False) as running, running.connect(0.15) as client:
        body = running.put(GOOD)
        client.sendall(post(running) + post_octets(question(authority, ABSENT), close=True))
        left = bytearray()
        assert read_answer(client, left)[1] == body
        until(lambda: running.held)
        running.release()
        assert read_answer(client, left)[1] == b"slow"
        assert client.recv(1) == b""


def test_a_client_that_has_sent_more_than_a_turn_reads(tmp_path: Path, authority: Authority) -> None:
    """Before it was accepted, so that nothing tells of it again but the loop itself: all of it is read."""
    running = Running(tmp_path, authority, receive_octets=4_000_000)
    running.put(GOOD)
    octets = get(running, "Accept: " + "x" * 7000 + "\r\n")
    count = 2_000_000 // len(octets)
    with running.connect(20) as client:
        sending = threading.Thread(target=client.sendall, args=(octets * count,))
        sending.start()
        time.sleep(0.3)
        with running:
            left = bytearray()
            for _ in range(count):
                assert read_answer(client, left)[0].startswith(b"HTTP/1.1 200")
            sending.join()


def test_a_flood_on_one_connection_delays_no_other(tmp_path: Path, authority: Authority) -> None:
    """Pipelined without end by a client that reads as well: another one waits milliseconds."""
    with Running(tmp_path, authority) as running:
        running.put(GOOD)
        octets, ended = get(running) * 500, threading.Event()
        with running.connect() as flood, running.connect() as client:

            def drain() -> None:
                while flood.recv(1 << 20):
                    pass

            def send() -> None:
                while not ended.is_set():
                    flood.sendall(octets)
                flood.shutdown(socket.SHUT_WR)

            threads = [threading.Thread(target=work) for work in (drain, send)]
            for thread in threads:
                thread.start()
            times = []
            for _ in range(50):
                begun = time.monotonic()
                ask(client, get(running))
                times.append(time.monotonic() - begun)
            ended.set()
            for thread in threads:
                thread.join()
        assert sorted(times)[25] < 0.1 * busyness()
        assert max(times) < 1


def is_answered(running: Running) -> bool:
    """Return whether another connection is answered: the loop may accept it before it reads that one has gone."""
    with running.connect() as client, contextlib.suppress(ConnectionError, EOFError):
        return ask(client, get(running))[0].startswith(b"HTTP/1.1 200")
    return False


def test_connections_beyond_the_limit_are_closed_at_once(tmp_path: Path, authority: Authority) -> None:
    """When none is idle. Those handed over count until Python says that they are gone; then there is room again."""
    with Running(tmp_path, authority, max_connections=4, answers=False) as running:
        running.put(GOOD)
        handed = running.connect()
        handed.sendall(chunked_octets(b"x"))
        until(lambda: running.cold_places)
        clients = [running.connect() for _ in range(3)]
        for client in clients:
            client.sendall(post(running, ABSENT))
        until(lambda: len(running.held) == 3)
        with running.connect() as refused:
            assert cut_off_after(refused) < 1
        assert (running.counted("connections_opened"), running.counted("connections_refused")) == (5, 1)
        for _ in range(2):  # twice is once
            running.loop.cold_gone(*running.cold_places[0])
        until(lambda: is_answered(running))
        for client in (handed, *clients):
            client.close()


def test_the_rate_limit_is_exact(tmp_path: Path, authority: Authority) -> None:
    """Seven a minute, hot and slow alike; the eighth is refused on any connection, in step."""
    with Running(tmp_path, authority, per_minute=7) as running:
        running.put(GOOD)
        with running.connect() as client:
            client.sendall((post(running) + post(running, ABSENT)) * 5)
            left = bytearray()
            heads = [read_answer(client, left)[0] for _ in range(10)]
        assert [b"Retry-After: 60" in head for head in heads] == [False] * 7 + [True] * 3
        assert running.counted("answers:limited") == 3


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_only_a_trusted_proxy_speaks_for_others(
    tmp_path: Path, authority: Authority, family: socket.AddressFamily
) -> None:
    """X-Forwarded-For decides whose limit it is, if the peer is in one of the networks."""
    peer = (b"\x7f\0\0\0", 8) if family is socket.AF_INET else (b"\0" * 15 + b"\x01", 128)

    def answered(name: str, proxies: tuple[tuple[bytes, int], ...], field: Callable[[int], str]) -> int:
        folder = tmp_path / name
        folder.mkdir()
        with Running(folder, authority, per_minute=3, family=family, proxies=proxies) as running:
            running.put(GOOD)
            with running.connect() as client:
                heads = [ask(client, get(running, f"X-Forwarded-For: {field(n)}\r\n"))[0] for n in range(9)]
        return sum(b"Retry-After" not in head for head in heads)

    assert answered("stranger", (), lambda n: f"10.0.0.{n}") == 3
    assert answered("proxy", (peer,), lambda n: f"10.0.0.{n}") == 9
    assert answered("one", (peer,), lambda n: f"10.0.0.{n}, 10.1.1.1") == 3
    assert answered("six", (peer,), lambda n: f"2001:db8::{n}") == 3
    assert answered("rubbish", (peer,), lambda n: f"10.0.0.{n}, what") == 3


def test_the_drain_answers_what_is_under_way(tmp_path: Path, authority: Authority) -> None:
    """Idle and half ones are closed, nobody is accepted, who waits is answered and closed; then, and only then, all
    are gone.
    """
    with Running(tmp_path, authority, answers=False) as running:
        running.put(GOOD)
        with running.connect() as idle, running.connect() as half, running.connect() as waiting:
            ask(idle, get(running))
            half.sendall(get(running)[:30])
            waiting.sendall(post(running, ABSENT) + post(running))
            until(lambda: running.held and running.loop.open_connections == 3)
            running.loop.drain()
            assert (idle.recv(1), half.recv(1)) == (b"", b"")
            with pytest.raises(ConnectionRefusedError):
                running.connect()
            assert not running.empty.wait(0.3)
            running.release()
            assert read_answer(waiting, bytearray())[1] == b"slow"
            assert running.empty.wait(5)
    assert running.loop.open_connections == 0


def test_the_drain_answers_who_has_already_connected(tmp_path: Path, authority: Authority) -> None:
    """Connections in the listener's queue are not reset: those with a request are answered."""
    running = Running(tmp_path, authority)
    running.put(GOOD)
    clients = [running.connect() for _ in range(20)]
    for client in clients:
        client.sendall(get(running))
    running.loop.drain()
    with running:
        for client in clients:
            assert read_answer(client, bytearray())[0].startswith(b"HTTP/1.1 200")
            assert client.recv(1) == b""
            client.close()
        assert running.empty.wait(5)


def test_a_loop_that_is_stopped_closes_everything(tmp_path: Path, authority: Authority) -> None:
    """`stop` ends the thread; the connections end with the loop."""
    with Running(tmp_path, authority) as running:
        running.put(GOOD)
        client = running.connect()
        ask(client, get(running))
    del running.loop
    assert client.recv(1) == b""
    client.close()
