"""Limits on what waits for Python: beyond them the loop says `tryLater` itself, as Python would, and hits go on."""

import re
import socket
import threading
import time
from pathlib import Path

import pytest

from responder.edge.http_answers import refusal_answer
from responder.edge.slow_path import respond
from responder.errors import TryLater
from tests.support.breakage import is_within
from tests.support.ca import Authority
from tests.support.edge_loop import Running, ask, nonce_question, question, read_answer, until
from tests.support.http import post_octets

GOOD, ABSENT = b"\x05" * 8, b"\x07" * 8
TRY_LATER = bytes.fromhex("30030a0103")


def nonce(authority: Authority, length: int = 16, *, close: bool = False) -> bytes:
    """A POST with a nonce."""
    return post_octets(nonce_question(authority, GOOD, b"n" * length), close=close)


def undated(octets: bytes) -> bytes:
    """A message without the value of its Date field."""
    return re.sub(rb"\r\nDate: [^\r]*", b"\r\nDate:", octets)


@pytest.mark.parametrize("close", [False, True], ids=["keep-alive", "close"])
def test_a_full_nonce_lane_says_try_later(tmp_path: Path, authority: Authority, close: bool) -> None:
    """Byte for byte what Python says; hits and misses do not care; a place that is free is given again."""
    with Running(tmp_path, authority, nonce_lane=2, answers=False) as running:
        body = running.put(GOOD)
        waiting = [running.connect() for _ in range(2)]
        for client in waiting:
            client.sendall(nonce(authority))
        until(lambda: len(running.held) == 2)
        with running.connect() as client:
            head, refused = ask(client, nonce(authority, close=close))
            python = respond(
                refusal_answer(TryLater()),
                is_get=False,
                if_none_match=b"",
                if_modified_since=b"",
                now=int(time.time()),
                max_age=3600,
                keep_alive=not close,
            )
            assert undated(head + b"\r\n\r\n" + refused) == undated(python)
            assert not close or client.recv(1) == b""
        with running.connect() as client:
            assert ask(client, post_octets(question(authority, GOOD)))[1] == body
            client.sendall(post_octets(question(authority, ABSENT)))
            until(lambda: len(running.held) == 3)
            running.release()
            assert read_answer(client, bytearray())[1] == b"slow"
        assert running.counted("answers:try_later") == 1
        for client in waiting:
            assert read_answer(client, bytearray())[1] == b"slow"
            client.sendall(nonce(authority))
        until(lambda: len(running.held) == 2)
        running.release()
        for client in waiting:
            client.close()


def test_only_nonces_that_could_be_answered_are_told_to_try_later(tmp_path: Path, authority: Authority) -> None:
    """One of 0 or 33 bytes is wrong however busy we are: Python says so."""
    with Running(tmp_path, authority, nonce_lane=1, answers=False) as running:
        running.put(GOOD)
        clients = [running.connect() for _ in range(3)]
        for client, length in zip(clients, (32, 33, 0), strict=True):
            client.sendall(nonce(authority, length))
        until(lambda: len(running.held) == 3)
        running.release()
        for client in clients:
            assert read_answer(client, bytearray())[1] == b"slow"
            client.close()


def test_who_goes_away_keeps_his_place_until_python_is_done(tmp_path: Path, authority: Authority) -> None:
    """Or asking and vanishing would be a way round the limit."""
    with Running(tmp_path, authority, nonce_lane=1, answers=False) as running:
        with running.connect() as vanishing:
            vanishing.sendall(nonce(authority))
            until(lambda: running.held)
            vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        until(lambda: running.loop.open_connections == 0)
        with running.connect() as client:
            assert ask(client, nonce(authority))[1] == TRY_LATER
            running.release()
            client.sendall(nonce(authority))
            until(lambda: running.held)
            running.release()
            assert read_answer(client, bytearray())[1] == b"slow"


def test_a_full_slow_lane_says_try_later_to_all_but_hits(tmp_path: Path, authority: Authority) -> None:
    """Misses, refusals and nonces alike, also in one pipeline: in step."""
    with Running(tmp_path, authority, slow_lane=1, answers=False) as running:
        body = running.put(GOOD)
        with running.connect() as waiting, running.connect() as client:
            waiting.sendall(post_octets(question(authority, ABSENT)))
            until(lambda: running.held)
            hit, miss = (post_octets(question(authority, serial)) for serial in (GOOD, ABSENT))
            client.sendall(hit + miss + hit + nonce(authority) + post_octets(b"bad") + hit)
            left = bytearray()
            client.settimeout(10)
            bodies = [read_answer(client, left)[1] for _ in range(6)]
            assert bodies == [body, TRY_LATER, body, TRY_LATER, TRY_LATER, body]
            running.release()
            assert read_answer(waiting, bytearray())[1] == b"slow"


def test_who_was_told_to_try_later_is_heard_again_a_tick_later(tmp_path: Path, authority: Authority) -> None:
    """A client that asks again at once gets few answers a second; a trusted proxy, which speaks for many, gets all."""
    counts: list[int] = []
    for proxies in ((), ((b"\x7f\0\0\0", 8),)):
        folder = tmp_path / str(len(counts))
        folder.mkdir()
        with Running(folder, authority, nonce_lane=1, proxies=proxies, answers=False) as running:
            body = running.put(GOOD)
            with running.connect() as first, running.connect() as client:
                first.sendall(nonce(authority))
                until(lambda running=running: running.held)
                begun, count = time.monotonic(), 0
                while time.monotonic() < begun + 2.5:
                    assert ask(client, nonce(authority))[1] == TRY_LATER
                    count += 1
                counts.append(count)
                assert ask(client, post_octets(question(authority, GOOD)))[1] == body
            running.release()
    assert 2 <= counts[0] <= 4
    assert counts[1] > 100


@pytest.mark.parametrize("kind", ["refused", "answered"])
def test_half_a_request_behind_a_slow_one_is_cut_off(tmp_path: Path, authority: Authority, kind: str) -> None:
    """H-34: it arrived while nothing was read, and its time begins when that ends."""
    with Running(tmp_path, authority, nonce_lane=1, patience_s=0.3, answers=False) as running:
        with running.connect() as first, running.connect() as client:
            first.sendall(nonce(authority))
            until(lambda: running.held)
            client.sendall((nonce(authority) if kind == "refused" else post_octets(question(authority, ABSENT))) + b"G")
            if kind == "answered":
                until(lambda: len(running.held) == 2)
                running.release()
            read_answer(client, bytearray())
            begun = time.monotonic()
            assert client.recv(1) == b""
            assert is_within(begun, 2)
            assert running.counted("timed_out") == 1
        running.release()


def test_who_is_paused_is_closed_by_the_drain(tmp_path: Path, authority: Authority) -> None:
    """Nobody waits for a pause to end."""
    with Running(tmp_path, authority, nonce_lane=1, answers=False) as running:
        with running.connect() as first, running.connect() as client:
            first.sendall(nonce(authority))
            until(lambda: running.held)
            assert ask(client, nonce(authority))[1] == TRY_LATER
            running.loop.drain()
            assert client.recv(1) == b""
            running.release()
            read_answer(first, bytearray())
        assert running.empty.wait(5)


def unread_octets(server: tuple[str, int], client: tuple[str, int]) -> int:
    """What the kernel keeps of that client for the server."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        ports = tuple(int(words[n].split(":")[1], 16) for n in (1, 2))
        if ports == (server[1], client[1]) and words[3] == "01":
            return int(words[4].split(":")[1], 16)
    raise AssertionError("no such connection")


@pytest.mark.parametrize("read_ahead", [1024, 100_000])
def test_no_more_is_read_ahead_than_is_set(tmp_path: Path, authority: Authority, read_ahead: int) -> None:
    """Behind a request that Python has, 200 kB of others: the rest stays in the socket, and all are answered."""
    running = Running(tmp_path, authority, read_ahead=read_ahead, receive_octets=4_000_000, answers=False)
    body = running.put(GOOD)
    hit = post_octets(question(authority, GOOD))
    count = 200_000 // len(hit)
    with running.connect(20) as client:
        octets = post_octets(question(authority, ABSENT)) + hit * count
        sending = threading.Thread(target=client.sendall, args=(octets,))
        sending.start()
        time.sleep(0.3)
        with running:
            until(lambda: running.held)
            sending.join()
            unread = unread_octets(running.address, client.getsockname())
            assert len(octets) - unread == read_ahead + 8194 + 4096
            running.release()
            left = bytearray()
            assert read_answer(client, left)[1] == b"slow"
            for _ in range(count):
                assert read_answer(client, left)[1] == body
