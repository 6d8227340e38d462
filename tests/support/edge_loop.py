"""A connection loop in this process, on a real socket: lane, table, gate and limit, and a slow lane of the test's.

What the loop hands to Python is answered here by the test's own words, so that a test sees which lane it was.
"""

import hashlib
import os
import select
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from _fastocsp.http.proxies import Proxies
from _fastocsp.ocsp.issuers import IssuerIndex
from _fastocsp.ocsp.record import pack_record
from _fastocsp.ocsp.signer_wire import ASK_ANSWER, pack_signed, split_frames, unpack_asked
from _fastocsp.revoked.rows import merge_groups
from _fastocsp.shared.bucket import Bucket
from _fastocsp.shared.counters import Counters
from _fastocsp.shared.lock import Lock
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record
from responder.clock import NS, read_clock
from responder.feed.machine import Renew
from responder.feed.shared import SharedFeed
from responder.hotpath.gate import Gate
from responder.hotpath.lane import Lane
from responder.hotpath.limits import Limits
from responder.hotpath.loop import (
    ALL_GONE,
    GIVE_UP_COLD,
    NO_LINE,
    TO_COLD_LANE,
    TO_NONCE_LANE,
    TO_SLOW_LANE,
    Loop,
)
from responder.telemetry import INDEX, ROW_SIZE
from tests.support.ca import Authority, key_bits
from tests.support.odd_requests import der

ISSUER_NO, ISSUER_ID, MAX_BODY = 1, b"demo", 4096
SLOW_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Lane: slow\r\n\r\nslow"
SHA1_ALGORITHM = bytes.fromhex("300906052b0e03021a0500")
NONCE_OID = bytes.fromhex("06092b0601050507300102")


def lease(seconds: float) -> Renew:
    """From now."""
    now = read_clock()
    return Renew(now.boot + int(seconds * NS), now.mono + int(seconds * NS), now.wall_s, 1, 0)


def cert_id(authority: Authority, serial: bytes) -> bytes:
    """The SHA-1 CertID of that serial."""
    name = hashlib.sha1(authority.root.subject.public_bytes()).digest()
    key = hashlib.sha1(key_bits(authority.root)).digest()
    return der(0x30, SHA1_ALGORITHM, der(4, name), der(4, key), der(2, serial))


def question(authority: Authority, serial: bytes) -> bytes:
    """DER of an OCSPRequest about that serial, which has no leading zero and no sign bit."""
    return der(0x30, der(0x30, der(0x30, der(0x30, cert_id(authority, serial)))))


def nonce_question(authority: Authority, serial: bytes, nonce: bytes) -> bytes:
    """The same with a nonce."""
    extension = der(0x30, NONCE_OID, der(4, der(4, nonce)))
    asked = der(0x30, der(0x30, cert_id(authority, serial)))
    return der(0x30, der(0x30, asked, der(0xA2, der(0x30, extension))))


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """What a test may choose for its loop."""

    max_connections: int = 100
    patience_s: float = 5.0
    idle_s: float = 5.0
    reading_s: float = 5.0
    read_ahead: int = 65536
    slow_lane: int = 100
    nonce_lane: int = 100
    per_minute: int = 0
    family: socket.AddressFamily = socket.AF_INET
    proxies: tuple[tuple[bytes, int], ...] = ()
    answers: bool = True
    receive_octets: int = 0
    table_bytes: int = 1 << 20
    table: Table | None = None
    asking_s: float = 5.0
    per_address: int = 100000

    def limits(self) -> Limits:
        """Those of the loop."""
        return Limits(
            connections=self.max_connections,
            patience_s=self.patience_s,
            reading_s=self.reading_s,
            idle_s=self.idle_s,
            read_ahead=self.read_ahead,
            slow_lane=self.slow_lane,
            nonce_lane=self.nonce_lane,
            asking_s=self.asking_s,
            per_address=self.per_address,
        )


class Running:
    """The loop in a thread, and a thread of Python that answers its letters."""

    def __init__(self, folder: Path, authority: Authority, **chosen: Any) -> None:
        """`chosen` are LoopOptions."""
        options = LoopOptions(**chosen)
        family = options.family
        self.authority, lock = authority, Lock()
        self.feed = SharedFeed(folder)
        self.feed.replace(merge_groups({}, []))
        self.feed.renew(lease(600))
        self.template = authority.template(codes.SHA1)
        self.counters = Counters(bytearray(ROW_SIZE))
        self.table = options.table or Table(options.table_bytes)
        self.lane = Lane(
            self.table,
            Gate(folder, lock),
            Bucket(bytearray(Bucket.size(64)), options.per_minute, 1),
            self.counters,
            self.index(),
            MAX_BODY,
            3600,
        )
        self.bound = socket.create_server(
            ("127.0.0.1" if family is socket.AF_INET else "::1", 0), family=family, backlog=4096
        )
        self.bound.setblocking(False)
        self.bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.receive_octets:
            self.bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_octets)
        self.address = self.bound.getsockname()[:2]
        self.loop = Loop(self.lane, Proxies(options.proxies), self.bound.detach(), options.limits())
        self.slow: list[bytes] = []
        self.cold: list[tuple[socket.socket, bytes]] = []
        self.cold_places: list[tuple[int, int]] = []
        self.given_up: list[tuple[int, int]] = []
        self.held: list[tuple[int, int, int]] = []
        self.lost_lines = 0
        self.answers, self.empty, self._ended = options.answers, threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self.loop.run), threading.Thread(target=self._read_letters)]

    def index(self) -> IssuerIndex:
        """The authority, and its template."""
        index = IssuerIndex()
        name = hashlib.sha1(self.authority.root.subject.public_bytes()).digest()
        index.add(ISSUER_NO, ISSUER_ID, codes.SHA1, name, hashlib.sha1(key_bits(self.authority.root)).digest())
        index.add_template(ISSUER_NO, self.template)
        return index

    def __enter__(self) -> "Running":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.loop.stop()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for connected, _ in self.cold:
            connected.close()
        self.feed.close()

    def sign(self, serial: bytes, **fields: object) -> bytes:
        """A signed record of that serial, valid for an hour around now, some fields changed."""
        now = int(time.time())
        times = {"this_update": now - 600, "next_update": now + 3000, "produced_at": now - 600}
        record: Record = self.authority.record(**{**times, **fields})
        return pack_record(record._replace(signature=self.authority.sign(self.template.tbs(serial, record))))

    def put(self, serial: bytes, **fields: object) -> bytes:
        """Into the table; the DER of its answer."""
        record = self.sign(serial, **fields)
        assert self.table.put(ISSUER_NO, codes.SHA1, serial, record)
        return self.template.encode(serial, record)

    def put_bare(self, serial: bytes, size: int, seq: int, signature: bytes = b"") -> None:
        """Into the table, with a signature of so many bytes that is none."""
        now = int(time.time())
        record = self.authority.record(this_update=now - 600, next_update=now + 3000, produced_at=now - 600, seq=seq)
        octets = pack_record(record._replace(signature=signature or seq.to_bytes(size, "big")))
        assert self.table.put(ISSUER_NO, codes.SHA1, serial, octets)

    def connect(self, timeout_s: float = 30.0) -> socket.socket:
        """A client."""
        return socket.create_connection(self.address, timeout=timeout_s)

    def signer(self) -> "SignerSide":
        """The loop has a line from now on."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.loop.take_signer(ours.detach())
        return SignerSide(self, theirs)

    def counted(self, name: str) -> int:
        """A counter."""
        return self.counters.get(INDEX[name])

    def release(self) -> None:
        """Answer what `answers` False held back."""
        for kind, slot, generation in self.held:
            self.loop.answer(kind, slot, generation, SLOW_ANSWER)
        self.held.clear()

    def _read_letters(self) -> None:
        bell = select.poll()
        bell.register(self.loop.to_python.bell, select.POLLIN)
        while not self._ended.is_set():
            if not bell.poll(50):
                continue
            for kind, fd, slot, generation, octets in self.loop.to_python.letters():
                if kind in {TO_SLOW_LANE, TO_NONCE_LANE}:
                    self.slow.append(octets)
                    if self.answers:
                        self.loop.answer(kind, slot, generation, SLOW_ANSWER)
                    else:
                        self.held.append((kind, slot, generation))
                elif kind == TO_COLD_LANE:
                    os.set_blocking(fd, True)
                    self.cold.append((socket.socket(fileno=fd), octets))
                    self.cold_places.append((slot, generation))
                elif kind == GIVE_UP_COLD:
                    self.given_up.append((slot, generation))
                elif kind == NO_LINE:
                    self.lost_lines += 1
                elif kind == ALL_GONE:
                    self.empty.set()


class Asked(NamedTuple):
    """A question as the signer hears it."""

    number: int
    issuer_no: int
    hash_algorithm: int
    serial: bytes
    nonce: bytes


class SignerSide:
    """The other end of a loop's line: a signer in the test's own words."""

    def __init__(self, running: Running, line: socket.socket) -> None:
        self._running, self.line, self._left = running, line, b""
        line.settimeout(30)

    def __enter__(self) -> "SignerSide":
        return self

    def __exit__(self, *_: object) -> None:
        self.line.close()

    def hear(self, count: int = 1) -> list[Asked]:
        """So many questions."""
        asked: list[Asked] = []
        while True:
            frames, used = split_frames(self._left, count - len(asked))
            self._left = self._left[used:]
            for number, kind, body in frames:
                found = unpack_asked(body)
                assert kind == ASK_ANSWER
                assert found is not None
                asked.append(Asked(number, *found))
            if len(asked) == count:
                return asked
            part = self.line.recv(65536)
            assert part, "the loop has hung up"
            self._left += part

    def signed(self, asked: Asked, **fields: object) -> bytes:
        """The frame of the answer to it; its DER is not DER but tells which question it answers."""
        return pack_signed(asked.number, self._running.sign(asked.serial, **fields), der_of(asked))

    def say(self, octets: bytes) -> None:
        """To the loop."""
        self.line.sendall(octets)


def der_of(asked: Asked) -> bytes:
    """What `signed` says."""
    return b"about " + asked.serial + b" for " + asked.nonce


def until(holds: object, timeout_s: float = 60.0) -> None:
    """Wait until the callable says so."""
    assert callable(holds)
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def read_answer(client: socket.socket, left: bytearray) -> tuple[bytes, bytes]:
    """(head, body); `left` keeps what came behind."""
    while b"\r\n\r\n" not in left:
        part = client.recv(65536)
        if not part:
            raise EOFError(bytes(left))
        left += part
    head, _, rest = bytes(left).partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    body = bytearray(rest)
    while len(body) < length:
        part = client.recv(65536)
        if not part:
            raise EOFError(f"{len(body)} of {length} octets")
        body += part
    left[:] = body[length:]
    return head, bytes(body[:length])


def ask(client: socket.socket, octets: bytes) -> tuple[bytes, bytes]:
    """Send, and read one answer."""
    client.sendall(octets)
    return read_answer(client, bytearray())
