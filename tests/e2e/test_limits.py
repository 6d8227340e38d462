"""Limits, each on an instance that has low ones: requests a minute, time to send, idle time, connections."""

import contextlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.wanted import Demo, assert_good, assert_refused, demo_of
from tests.support.breakage import eventually, metrics, ready
from tests.support.fixtures import scratch
from tests.support.http import Talk, chunked_octets, get_octets, post_octets, question
from tests.support.instance import Instance

LIMIT, PROXY, MAX_CONNECTIONS = 20, "127.0.0.1", 30


@pytest.fixture(scope="module")
def limited() -> Iterator[Instance]:
    """Two workers, 20 requests a minute, one trusted proxy."""
    folder = scratch()
    settings = {"FASTOCSP_OCSP_RATE_LIMIT_PER_IP_MIN": str(LIMIT), "FASTOCSP_TRUSTED_PROXIES": PROXY}
    running = Instance(folder / "data", 2, 60, 8, **settings).start()
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def hasty() -> Iterator[Instance]:
    """Short times and few connections."""
    folder = scratch()
    settings = {"HEADER_TIMEOUT": "1s", "WRITE_TIMEOUT": "1s", "KEEP_ALIVE_TIMEOUT": "3s"}
    settings |= {"MAX_CONNECTIONS": str(MAX_CONNECTIONS), "SLOW_NICE": "7", "HEADER_BYTES": "10KiB"}
    running = Instance(
        folder / "data", 2, 60, 8, **{f"FASTOCSP_{name}": value for name, value in settings.items()}
    ).start()
    yield running
    running.stop()
    shutil.rmtree(folder)


def lanes(demo: Demo) -> dict[str, bytes]:
    """The same question in ways that go through each lane."""
    nonce = question(demo.good_cert, demo.issuer, nonce=b"n" * 16)
    return {
        "hot": post_octets(demo.good, close=True),
        "hot GET": get_octets(demo.path, "Connection: close\r\n"),
        "slow": post_octets(nonce, close=True),
        "slow refusal": post_octets(b"bad", close=True),
        "cold": chunked_octets(demo.good, extra="Connection: close\r\n"),
        "cold HEAD": get_octets(demo.path, "Connection: close\r\n").replace(b"GET", b"HEAD", 1),
    }


def test_the_rate_limit_is_exact_in_every_lane_and_over_both_workers(limited: Instance) -> None:
    """20 of 35 requests on as many connections are answered; the others get `unauthorized` and Retry-After (P-2)."""
    demo = demo_of(limited)
    for number, (lane, octets) in enumerate(lanes(demo).items(), 2):
        said = []
        for _ in range(LIMIT + 15):
            with Talk(limited.port, source=f"127.0.0.{number}") as talk:
                said.append(talk.ask(octets, head_only="HEAD" in lane))
        refused = [one for one in said if "retry-after" in one[1]]
        assert len(refused) == 15, lane
        assert refused == said[LIMIT:], lane
        for status, fields, body in refused:
            assert fields["retry-after"] == "60"
            if "HEAD" not in lane:
                assert_refused((status, fields, body))
            assert fields["cache-control"] == "no-store"


def test_lanes_share_one_limit_and_one_clock(limited: Instance) -> None:
    """A cold request and at once a burst of hot ones: not one too few and not one too many."""
    demo = demo_of(limited)
    cold, hot = chunked_octets(demo.good, extra="Connection: close\r\n"), get_octets(demo.path) * (LIMIT + 5)
    for client in range(40, 50):
        with (
            Talk(limited.port, source=f"127.0.0.{client}") as first,
            Talk(limited.port, source=f"127.0.0.{client}") as then,
        ):
            answered = int("retry-after" not in first.ask(cold)[1])
            then.socket.sendall(hot)
            answered += sum("retry-after" not in then.read()[1] for _ in range(LIMIT + 5))
        assert answered == LIMIT


def test_a_limited_client_stays_in_step(limited: Instance) -> None:
    """Refusals on one connection, pipelined, conditional or not: one answer each."""
    demo = demo_of(limited)
    with Talk(limited.port, source="127.0.0.21") as talk:
        talk.socket.sendall(get_octets(demo.path, "If-None-Match: *\r\n") * 40 + chunked_octets(demo.good) * 3)
        said = [talk.read() for _ in range(43)]
    assert [status for status, _, _ in said[:LIMIT]] == [304] * LIMIT
    for one in said[LIMIT:]:
        assert_refused(one)


def test_other_paths_are_not_limited(limited: Instance) -> None:
    """Health, CRL and issuer certificate are for everybody."""
    with Talk(limited.port, source="127.0.0.22") as talk:
        for _ in range(LIMIT + 5):
            assert talk.ask(get_octets("/health"))[0] == 200
            assert talk.ask(get_octets("/.well-known/pki/crl/demo"))[0] == 200


@pytest.mark.parametrize("lane", ["hot", "cold"])
def test_only_a_trusted_proxy_speaks_for_others(limited: Instance, lane: str) -> None:
    """X-Forwarded-For is ignored from others; of the proxy's list the last hop that is no proxy counts."""
    demo = demo_of(limited)

    def answered(source: str, hops: list[str]) -> int:
        octets = [lanes_of(demo, lane, f"X-Forwarded-For: {hop}\r\n") for hop in hops]
        with Talk(limited.port, source=source) as talk:
            return sum("retry-after" not in talk.ask(one)[1] for one in octets)

    net = {"hot": "10.1", "cold": "10.2"}[lane]
    stranger = {"hot": "127.0.0.30", "cold": "127.0.0.31"}[lane]
    before = metrics(limited)["forwarded_ignored"]
    assert answered(stranger, [f"{net}.0.{n}" for n in range(40)]) == LIMIT
    assert metrics(limited)["forwarded_ignored"] == before + 40
    assert answered(PROXY, [f"{net}.1.{n}" for n in range(40)]) == 40
    assert answered(PROXY, [f"{net}.2.{n}, {net}.3.1" for n in range(40)]) == LIMIT
    assert answered(PROXY, [f"{net}.2.{n}, {net}.4.1, {PROXY}" for n in range(40)]) == LIMIT
    six = {"hot": "2001:db8:1:1", "cold": "2001:db8:1:2"}[lane]
    assert answered(PROXY, [f"{six}::{n:x}" for n in range(1, 41)]) == LIMIT
    assert answered(PROXY, [f"[{six}::{n:x}]" for n in range(1, 41)]) == 0


def test_a_proxy_that_is_not_trusted_is_named(limited: Instance) -> None:
    """Once per worker in the log, and in `/ready` while its clients are refused by the limit."""
    demo, stranger = demo_of(limited), "127.0.0.32"
    octets = post_octets(demo.good, "/ocsp", extra="X-Forwarded-For: 10.3.0.1\r\n")

    def is_named() -> bool:
        with Talk(limited.port, source=stranger) as talk:
            for _ in range(2 * LIMIT):
                talk.ask(octets)
        return any("TRUSTED_PROXIES" in warning for warning in ready(limited)[1]["warnings"])

    eventually(is_named, 60, "no warning about the proxy")
    lines = [line for line in (limited.folder / "logs/edge.log").read_text().splitlines() if "x-forwarded-for" in line]
    assert 1 <= len(lines) <= 2
    assert all(json.loads(line)["peer"].startswith("127.0.0.3") for line in lines)


def lanes_of(demo: Demo, lane: str, extra: str) -> bytes:
    """The good question with a field more."""
    return (post_octets if lane == "hot" else chunked_octets)(demo.good, "/ocsp", extra=extra)


def cut_off_after(talk: Talk, octets: bytes = b"", pause_s: float = 0.0) -> float:
    """Seconds until the server ends the connection, while we send these bytes slowly."""
    begun = time.monotonic()
    with contextlib.suppress(OSError):
        for octet in octets:
            talk.socket.sendall(bytes((octet,)))
            time.sleep(pause_s)
        talk.socket.settimeout(10)
        while talk.socket.recv(65536):
            pass
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("target", "fields", "status"), [(0, 9000, 200), (0, 11000, 431), (9000, 0, 400), (11000, 0, 414)]
)
def test_a_head_may_be_as_long_as_it_is_set(hasty: Instance, target: int, fields: int, status: int) -> None:
    """HEADER_BYTES holds for the target, whose 9,000 bytes are no base64 of a request, and for the fields."""
    path = f"/ocsp/{'M' * target}" if target else demo_of(hasty).path
    with Talk(hasty.port) as talk:
        talk.socket.sendall(get_octets(path, f"A: {'b' * fields}\r\nConnection: close\r\n"))
        assert int(talk.socket.recv(12)[9:]) == status


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"GET /ocsp/MA HTTP/1.1\r\nHost: x\r\nA: ",
        b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: 99\r\n\r\n0",
        b"PUT / HTTP/1.1\r\nA: ",
        b"POST /ocsp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n",
    ],
)
def test_who_stops_in_a_request_is_cut_off(hasty: Instance, sent: bytes) -> None:
    """H-34: nothing, half a line, half a head, half a body, in the hot and in the cold lane: a second and a bit."""
    with Talk(hasty.port) as talk:
        talk.socket.sendall(sent)
        assert 0.8 < cut_off_after(talk) < 2.5


@pytest.mark.parametrize("begin", [b"", b"HEAD /ocsp/MA HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["hot", "cold"])
def test_who_trickles_is_cut_off(hasty: Instance, begin: bytes) -> None:
    """H-34: a byte every 50 ms does not prolong the time for a head; nor does a request that was answered before."""
    demo = demo_of(hasty)
    with Talk(hasty.port) as talk:
        if begin:
            talk.ask(begin, head_only=True)
        assert 0.8 < cut_off_after(talk, get_octets(demo.path), 0.05) < 2.5


def test_who_is_idle_is_cut_off_later(hasty: Instance) -> None:
    """The keep-alive time counts from the last answer, in each lane."""
    demo = demo_of(hasty)
    for octets in (get_octets(demo.path), chunked_octets(demo.good)):
        with Talk(hasty.port) as talk:
            assert_good(demo, talk.ask(octets))
            assert 2.5 < cut_off_after(talk) < 5


def test_who_does_not_read_is_cut_off(hasty: Instance) -> None:
    """Answers that nobody fetches end the connection, not the worker's memory."""
    demo = demo_of(hasty)
    octets = get_octets(demo.path) * 200
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=6) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            deaf.sendall(octets * 5000)
    with Talk(hasty.port) as talk:
        assert_good(demo, talk.ask(get_octets(demo.path)))


def test_beyond_the_limit_of_connections_the_longest_idle_ones_are_closed(hasty: Instance) -> None:
    """Each worker keeps 30; ninety are answered one after the other, and at most sixty are open afterwards."""
    demo = demo_of(hasty)
    open_ones = [socket.create_connection(("127.0.0.1", hasty.port), timeout=5) for _ in range(90)]
    for one in open_ones:
        one.sendall(get_octets(demo.path))
        assert one.recv(4096).startswith(b"HTTP/1.1 200 OK")
    kept = 0
    for one in open_ones:
        with contextlib.suppress(ConnectionError):
            one.sendall(get_octets(demo.path))
            kept += one.recv(4096).startswith(b"HTTP/1.1 200 OK")
    assert MAX_CONNECTIONS <= kept <= 2 * MAX_CONNECTIONS
    for one in open_ones:
        one.close()


def test_idle_and_slow_clients_delay_nobody(instance: Instance) -> None:
    """H-34: beside 200 idle connections and 50 that trickle, each answer takes less than two seconds; mostly 50 ms."""
    demo = demo_of(instance)
    stop = threading.Event()
    idle = [Talk(instance.port) for _ in range(200)]
    slow = [Talk(instance.port) for _ in range(50)]

    def trickle() -> None:
        for octet in post_octets(demo.good)[:-1]:
            for one in slow:
                one.socket.sendall(bytes((octet,)))
            if stop.wait(0.02):
                return

    trickling = threading.Thread(target=trickle)
    trickling.start()
    times = []
    for n in range(200):
        begun = time.monotonic()
        with Talk(instance.port) as talk:
            assert_good(
                demo, talk.ask([get_octets(demo.path), post_octets(demo.good), chunked_octets(demo.good)][n % 3])
            )
        times.append(time.monotonic() - begun)
    stop.set()
    trickling.join()
    for one in idle + slow:
        one.socket.close()
    assert max(times) < 2
    assert sorted(times)[100] < 0.05


def test_python_stands_back_behind_the_connections(hasty: Instance) -> None:
    """The worker's first thread, which runs Python, is nicer than the one that has the connections, by what is set."""
    for pid in hasty.facts["pids"]["edge"]:
        threads = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
        nices = {thread: os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
        assert nices[pid] - min(nices.values()) == 7


def test_no_worker_was_restarted(hasty: Instance, limited: Instance) -> None:
    """After all of the above."""
    for running in (hasty, limited):
        pids = json.loads((running.folder / "run" / "edge.json").read_text())["workers"]
        assert pids == running.facts["pids"]["edge"]
