"""Messages on the connections of the loop: order, pieces, halves, and what it leaves to others."""

import base64
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from _fastocsp.http.response import encode_head
from _fastocsp.wire import codes
from tests.support.ca import Authority
from tests.support.edge_loop import Running, ask, question, read_answer, until
from tests.support.http import chunked_octets, get_octets, post_octets

GOOD, REVOKED, ABSENT = b"\x05" * 8, b"\x06" * 16, b"\x07" * 8


@pytest.fixture
def running(tmp_path: Path, authority: Authority) -> Iterator[Running]:
    """One with a good and a revoked certificate in its table."""
    with Running(tmp_path, authority) as made:
        yield made


@pytest.fixture
def hot(running: Running) -> dict[bytes, bytes]:
    """Body of the right answer by serial."""
    running.feed.apply([(1, 1, REVOKED, 1000, 1)])
    revoked = running.put(REVOKED, status=codes.REVOKED, revocation_time=1000, reason=1)
    return {GOOD: running.put(GOOD), REVOKED: revoked}


def post(running: Running, serial: bytes, **how: bool) -> bytes:
    """A POST about that serial."""
    return post_octets(question(running.authority, serial), **how)  # type: ignore[arg-type]


def get(running: Running, serial: bytes, extra: str = "") -> bytes:
    """A GET about that serial."""
    return get_octets("/ocsp/" + base64.b64encode(question(running.authority, serial)).decode(), extra)


def all_said(client: socket.socket) -> bytes:
    """Everything until the end."""
    said = b""
    while part := client.recv(65536):
        said += part
    return said


def test_a_hit_is_answered_by_get_and_post_without_python(running: Running, hot: dict[bytes, bytes]) -> None:
    """Good and revoked, on one connection; no letter, two hits each; the head is the one of `encode_head`."""
    with running.connect() as client:
        for serial in (GOOD, REVOKED):
            for octets in (get(running, serial), post(running, serial)):
                head, body = ask(client, octets)
                assert body == hot[serial]
    record = running.table.get(1, codes.SHA1, REVOKED)
    assert record is not None
    date = next(line for line in head.split(b"\r\n") if line.startswith(b"Date: "))
    wanted = [encode_head(record, now, len(body), max_age=3600) for now in (int(time.time()) + off for off in (-1, 0))]
    assert head + b"\r\n\r\n" in wanted, date
    assert (running.counted("answers:hit"), running.slow, running.cold) == (4, [], [])


def test_a_request_split_at_every_octet(running: Running, hot: dict[bytes, bytes]) -> None:
    """In two pieces at each place: one whole answer, nothing early."""
    with running.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octets in (get(running, GOOD), post(running, GOOD)):
            for at in range(1, len(octets)):
                client.sendall(octets[:at])
                time.sleep(0.0003)
                assert ask(client, octets[at:])[1] == hot[GOOD]
    assert not running.slow


def test_pipelined_requests_are_answered_in_order(running: Running, hot: dict[bytes, bytes]) -> None:
    """Hot and slow ones mixed, sent at once, split at odd places: the answers keep their order (RFC 9112 9.3.2)."""
    order = [GOOD, ABSENT, REVOKED, ABSENT, ABSENT, GOOD, REVOKED] * 40
    octets = b"".join((get if n % 2 else post)(running, serial) for n, serial in enumerate(order))
    with running.connect() as client:
        for at in range(0, len(octets), 1777):
            client.sendall(octets[at : at + 1777])
        left = bytearray()
        for serial in order:
            assert read_answer(client, left)[1] == hot.get(serial, b"slow")
        assert not left
    assert running.counted("answers:hit") == 160
    assert len(running.slow) == 120


def test_the_slow_lane_gets_the_request_octet_for_octet(running: Running) -> None:
    """What is not in the table goes to Python whole, and only once."""
    octets = get(running, ABSENT, "If-None-Match: *\r\n")
    with running.connect() as client:
        assert ask(client, octets)[1] == b"slow"
    assert running.slow == [octets]


def test_nothing_overtakes_a_slow_answer(tmp_path: Path, authority: Authority) -> None:
    """While Python thinks, hits behind it wait; other connections do not."""
    with Running(tmp_path, authority, answers=False) as running:
        body = running.put(GOOD)
        with running.connect() as first, running.connect() as second:
            first.sendall(post(running, ABSENT) + get(running, GOOD))
            until(lambda: running.held)
            assert ask(second, get(running, GOOD))[1] == body
            first.settimeout(0.2)
            with pytest.raises(TimeoutError):
                first.recv(1)
            first.settimeout(5)
            running.release()
            left = bytearray()
            assert [read_answer(first, left)[1] for _ in range(2)] == [b"slow", body]


def test_an_answer_never_reaches_the_next_connection_of_a_slot(tmp_path: Path, authority: Authority) -> None:
    """A client that resets while Python thinks; another one gets its slot, and nothing of its answer."""
    with Running(tmp_path, authority, max_connections=1, answers=False) as running:
        body = running.put(GOOD)
        gone = running.connect()
        gone.sendall(post(running, ABSENT))
        until(lambda: running.held)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        until(lambda: running.loop.open_connections == 0)
        with running.connect() as client:
            client.sendall(get(running, GOOD)[:20])
            until(lambda: running.loop.open_connections == 1)
            running.release()
            assert ask(client, get(running, GOOD)[20:])[1] == body


def test_python_may_give_a_connection_up(tmp_path: Path, authority: Authority) -> None:
    """None in place of an answer ends it."""
    with Running(tmp_path, authority, answers=False) as running, running.connect() as client:
        client.sendall(post(running, ABSENT))
        until(lambda: running.held)
        running.loop.answer(*running.held.pop(), None)
        assert client.recv(1) == b""


@pytest.mark.parametrize("serial", [GOOD, ABSENT], ids=["hot", "slow"])
def test_a_client_that_has_said_all_is_answered(running: Running, hot: dict[bytes, bytes], serial: bytes) -> None:
    """H-24: the sending half is closed behind three requests; three answers, then the end."""
    for _ in range(20):
        with running.connect() as client:
            client.sendall(post(running, serial) * 3)
            client.shutdown(socket.SHUT_WR)
            said = all_said(client)
        assert said.count(hot.get(serial, b"\r\n\r\nslow")) == 3
        assert said.count(b"HTTP/1.1 200") == 3


def test_half_a_request_and_the_end_is_not_answered(running: Running, hot: dict[bytes, bytes]) -> None:
    """H-31."""
    for octets in (post(running, GOOD)[:-1], get(running, GOOD)[:-1], b"G", b""):
        with running.connect() as client:
            client.sendall(octets)
            client.shutdown(socket.SHUT_WR)
            assert all_said(client) == b""
    until(lambda: running.loop.open_connections == 0)


@pytest.mark.parametrize("serial", [GOOD, ABSENT], ids=["hot", "slow"])
def test_close_is_honoured(running: Running, hot: dict[bytes, bytes], serial: bytes) -> None:
    """H-22: the answer arrives whole though bytes behind it are never read; none of them is answered."""
    for behind in (b"", post(running, GOOD), b"x" * 20):
        with running.connect() as client:
            client.sendall(post(running, serial, close=True) + behind)
            head, body = read_answer(client, bytearray())
            assert body == hot.get(serial, b"slow")
            assert serial == ABSENT or b"Connection: close" in head
            assert client.recv(1) == b""


def test_what_is_no_plain_request_is_handed_over_with_its_octets(running: Running, hot: dict[bytes, bytes]) -> None:
    """The answers before it go out first; the socket then is the cold lane's, and the loop counts it no more."""
    odd = chunked_octets(b"abc") + get(running, GOOD)
    with running.connect() as client:
        client.sendall(get(running, GOOD) + post(running, ABSENT) + odd)
        left = bytearray()
        assert [read_answer(client, left)[1] for _ in range(2)] == [hot[GOOD], b"slow"]
        until(lambda: running.cold)
        connected, octets = running.cold[0]
        client.sendall(b"more")
        assert octets + connected.recv(100) == odd + b"more"
        connected.sendall(b"from the cold lane")
        assert client.recv(100) == b"from the cold lane"
    assert running.loop.open_connections == 0
    assert running.counted("handed_over") == 1


def test_conditions_give_304(running: Running, hot: dict[bytes, bytes]) -> None:
    """If-None-Match with the answer's own tag; without a body, in step."""
    with running.connect() as client:
        head, _ = ask(client, get(running, GOOD))
        tag = next(line[6:] for line in head.split(b"\r\n") if line.startswith(b"ETag: ")).decode()
        assert ask(client, get(running, GOOD, f"If-None-Match: {tag}\r\n"))[0].startswith(b"HTTP/1.1 304")
        assert ask(client, get(running, GOOD))[1] == hot[GOOD]
    assert running.counted("answers:not_modified") == 1


def test_the_gate_is_asked_for_every_answer(running: Running, hot: dict[bytes, bytes]) -> None:
    """The moment the set lists a serial, or the lease is withdrawn, the hot lane answers `good` no more."""
    with running.connect() as client:
        assert ask(client, get(running, GOOD))[1] == hot[GOOD]
        running.feed.apply([(1, 1, GOOD, 2000, 1)])
        assert ask(client, get(running, GOOD))[1] == b"slow"
        assert running.counted("contradicted") == 1
        running.feed.renew(None)
        assert ask(client, get(running, REVOKED))[1] == hot[REVOKED]


def test_a_new_image_stops_hits_until_python_has_mapped_it(running: Running, hot: dict[bytes, bytes]) -> None:
    """The page names another image: nothing is answered by the old one."""
    with running.connect() as client:
        running.feed.replace({})
        assert ask(client, get(running, GOOD))[1] == b"slow"
        running.lane.gate.remap()
        assert ask(client, get(running, GOOD))[1] == hot[GOOD]


def test_an_expired_record_is_never_served(running: Running) -> None:
    """O-21: past nextUpdate the hot lane passes; the loop's own clock says so, without a tick of Python's."""
    now = int(time.time())
    body = running.put(GOOD, next_update=now + 2)
    with running.connect() as client:
        assert ask(client, get(running, GOOD))[1] == body
        time.sleep(2.2)
        assert ask(client, get(running, GOOD))[1] == b"slow"


def wait_for_a_new_mark() -> None:
    """Records are marked as due by units of two seconds: none passes during the next second."""
    time.sleep(2 - time.time() % 2 + 0.2)


def test_records_past_half_of_their_life_are_due_once(running: Running) -> None:
    """However often they are asked for; again after two seconds, when they were taken."""
    now = int(time.time())
    running.put(GOOD)
    running.put(REVOKED, this_update=now - 3000, next_update=now + 1000)
    with running.connect() as client:
        for _ in range(2):
            wait_for_a_new_mark()
            for serial in (GOOD, REVOKED, REVOKED):
                assert ask(client, get(running, serial))[0].startswith(b"HTTP/1.1 200")
            assert running.lane.take_due() == [(1, codes.SHA1, REVOKED)]
    assert running.lane.take_due() == []


def test_a_due_record_is_looked_for_by_one_worker(tmp_path: Path, running: Running, authority: Authority) -> None:
    """Two workers on one table answer it, and one of them notes it."""
    now = int(time.time())
    (tmp_path / "other").mkdir()
    running.put(GOOD, this_update=now - 3000, next_update=now + 1000)
    with Running(tmp_path / "other", authority, table=running.table) as other:
        wait_for_a_new_mark()
        for each in (other, running):
            with each.connect() as client:
                assert ask(client, get(each, GOOD))[0].startswith(b"HTTP/1.1 200")
        assert other.lane.take_due() == [(1, codes.SHA1, GOOD)]
        assert running.lane.take_due() == []


def test_the_slow_answer_of_a_client_that_does_not_read(tmp_path: Path, authority: Authority) -> None:
    """More bytes than the socket takes: they come, in order, when the client reads."""
    with Running(tmp_path, authority, answers=False) as running:
        body = running.put(GOOD)
        with running.connect() as client:
            client.sendall(post(running, ABSENT) + post(running, GOOD))
            until(lambda: running.held)
            long = b"x" * 12_000_000
            running.loop.answer(*running.held.pop(), b"HTTP/1.1 200 OK\r\nContent-Length: 12000000\r\n\r\n" + long)
            time.sleep(0.2)
            left = bytearray()
            assert read_answer(client, left)[1] == long
            assert read_answer(client, left)[1] == body
