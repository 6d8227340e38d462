"""The loop beside Python: writers that change everything it reads, and a Python that holds the GIL."""

import base64
import ctypes
import multiprocessing
import socket
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from _fastocsp.wire import codes
from tests.support.ca import Authority
from tests.support.edge_loop import Running, lease, question, read_answer
from tests.support.http import get_octets, post_octets

SERIALS = [bytes((1 + n, 7)) for n in range(40)]
SECONDS = 4.0


class Storm:
    """Writers in Python and clients, at once, until `ended`."""

    def __init__(self, running: Running) -> None:
        now = int(time.time())
        self.running, self.ended = running, threading.Event()
        self.records = {
            serial: [running.sign(serial, seq=seq, this_update=now - 3000, next_update=now + 1000) for seq in (1, 2)]
            for serial in SERIALS
        }
        self.valid = {
            serial: {running.template.encode(serial, one) for one in both} | {b"slow"}
            for serial, both in self.records.items()
        }
        self.wrong: list[tuple[bytes, bytes]] = []
        self.bodies: list[bytes] = []

    def change_table(self) -> None:
        """Put, discard, put."""
        table = self.running.table
        while not self.ended.is_set():
            for serial, both in self.records.items():
                table.put(1, codes.SHA1, serial, both[1])
                table.discard(1, codes.SHA1, serial)
                table.put(1, codes.SHA1, serial, both[0])
                assert table.get(1, codes.SHA1, serial) in (*both, None)

    def fill_table(self) -> None:
        """Make it grow and evict."""
        filler, number = self.records[SERIALS[0]][0], 0
        while not self.ended.is_set():
            number += 1
            self.running.table.put(1, codes.SHA1, number.to_bytes(8, "big"), filler)

    def change_the_rest(self) -> None:
        """Catalog, image, lease, due records."""
        while not self.ended.is_set():
            self.running.lane.take_issuers(self.running.index())
            self.running.feed.replace({})
            self.running.lane.gate.remap()
            self.running.feed.renew(lease(600))
            self.running.lane.take_due()
            time.sleep(0.0005)

    def ask(self, number: int) -> None:
        """Everything, pipelined, on one connection."""
        batch = SERIALS[number:] + SERIALS[:number]
        octets = b"".join(post_octets(question(self.running.authority, serial)) for serial in batch)
        with self.running.connect() as client:
            left = bytearray()
            while not self.ended.is_set():
                client.sendall(octets)
                for serial in batch:
                    body = read_answer(client, left)[1]
                    self.bodies.append(body)
                    if body not in self.valid[serial]:
                        self.wrong.append((serial, body))


def test_every_answer_is_a_valid_one_while_python_changes_everything(tmp_path: Path, authority: Authority) -> None:
    """Three writers put, discard, swap the catalog, replace the image and take what is due, four clients ask: each
    answer is one of the two records of its serial, byte for byte, or the slow lane's; and the table adds up after.
    """
    with Running(tmp_path, authority, max_connections=50) as running:
        storm = Storm(running)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0002)
        threads = [threading.Thread(target=work) for work in (storm.change_table, storm.fill_table)]
        threads += [threading.Thread(target=storm.change_the_rest)]
        threads += [threading.Thread(target=storm.ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        storm.ended.set()
        for thread in threads:
            thread.join(30)
        sys.setswitchinterval(interval)
        slow = storm.bodies.count(b"slow")
        assert not storm.wrong
        assert slow > 0
        assert len(storm.bodies) - slow > 500
        for serial, both in storm.records.items():
            running.table.put(1, codes.SHA1, serial, both[1])
            assert running.table.get(1, codes.SHA1, serial) == both[1]
        assert running.table.octets <= 1 << 20


def ask_for(seconds: float, address: tuple[str, int], octets: bytes, told: Connection) -> None:
    """In a process of its own: the longest time that one answer took."""
    longest, answered = 0.0, 0
    with socket.create_connection(address, timeout=10) as client:
        left, end = bytearray(), time.monotonic() + seconds
        told.send("ready")
        while (begun := time.monotonic()) < end:
            client.sendall(octets)
            assert read_answer(client, left)[0].startswith(b"HTTP/1.1 200")
            longest, answered = max(longest, time.monotonic() - begun), answered + 1
    told.send((longest, answered))


def test_a_python_that_holds_the_gil_holds_no_cached_answer(tmp_path: Path, authority: Authority) -> None:
    """A second of C code with the GIL held: answers go on meanwhile, none takes near as long."""
    with Running(tmp_path, authority) as running:
        running.put(SERIALS[0])
        octets = get_octets("/ocsp/" + base64.b64encode(question(authority, SERIALS[0])).decode())
        spawn = multiprocessing.get_context("spawn")
        here, there = spawn.Pipe()
        asking = spawn.Process(target=ask_for, args=(1.6, running.address, octets, there))
        asking.start()
        assert here.recv() == "ready"
        time.sleep(0.2)
        before = running.counted("answers:hit")
        ctypes.PyDLL(None).usleep(1_000_000)
        during = running.counted("answers:hit") - before
        longest, answered = here.recv()
        asking.join(10)
        assert during > 200
        assert answered > during
        assert longest < 0.5
