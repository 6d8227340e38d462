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

from _fastocsp import codes
from tests.e2e.asking import get_octets, post_octets
from tests.fastocsp.authority import Authority
from tests.responder.edge.running import Running, lease, question, read_answer

SERIALS = [bytes((1 + n, 7)) for n in range(40)]
SECONDS = 4.0


def test_every_answer_is_one_of_the_valid_ones_while_python_changes_everything(
    tmp_path: Path, authority: Authority
) -> None:
    """Three writers put, discard, swap the catalog, replace the image and take what is due, four clients ask: each
    answer is one of the two records of its serial, octet for octet, or the slow lane's; and the table adds up after.
    """
    with Running(tmp_path, authority, max_connections=50) as running:
        now = int(time.time())
        records = {
            serial: [running.sign(serial, seq=seq, this_update=now - 3000, next_update=now + 1000) for seq in (1, 2)]
            for serial in SERIALS
        }
        valid = {
            serial: {running.template.encode(serial, one) for one in both} | {b"slow"}
            for serial, both in records.items()
        }
        ended, wrong, counts = threading.Event(), [], []

        def change_table() -> None:
            while not ended.is_set():
                for serial, both in records.items():
                    running.table.put(1, codes.SHA1, serial, both[1])
                    running.table.discard(1, codes.SHA1, serial)
                    running.table.put(1, codes.SHA1, serial, both[0])
                    assert running.table.get(1, codes.SHA1, serial) in (*both, None)

        def fill_table() -> None:
            filler, number = records[SERIALS[0]][0], 0
            while not ended.is_set():
                number += 1
                running.table.put(1, codes.SHA1, number.to_bytes(8, "big"), filler)

        def change_the_rest() -> None:
            while not ended.is_set():
                running.lane.take_issuers(running.index())
                running.feed.replace({})
                running.lane.gate.remap()
                running.feed.renew(lease(600))
                running.lane.take_due()
                time.sleep(0.0005)

        def ask_all(number: int) -> None:
            hits = slow = 0
            with running.connect() as client:
                left = bytearray()
                while not ended.is_set():
                    batch = SERIALS[number:] + SERIALS[:number]
                    client.sendall(b"".join(post_octets(question(authority, serial)) for serial in batch))
                    for serial in batch:
                        body = read_answer(client, left)[1]
                        hits, slow = hits + (body != b"slow"), slow + (body == b"slow")
                        if body not in valid[serial]:
                            wrong.append((serial, body))
            counts.append((hits, slow))

        interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0002)
        works = [change_table, fill_table, change_the_rest]
        threads = [threading.Thread(target=work) for work in works]
        threads += [threading.Thread(target=ask_all, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        ended.set()
        for thread in threads:
            thread.join(30)
        sys.setswitchinterval(interval)
        assert not wrong
        assert len(counts) == 4
        assert sum(hits for hits, _ in counts) > 500, counts
        assert sum(slow for _, slow in counts) > 0, counts
        for serial, both in records.items():
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
