"""Processes that share a table, in interpreters of their own: `python -m tests.fastocsp.table.sharing PART FD LIMIT`.

Every byte of a record follows from its serial and its seq, so half of one and half of another would show.
"""

import hashlib
import os
import random
import signal
import sys
import time
from itertools import count

from _fastocsp.ocsp.record import pack_record, unpack_record
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record

KEYS = 3000
SECONDS, PATIENCE = 3.0, 60.0
SIZES = (0, 8, 40, 64, 65, 96, 130, 256, 300)


def serial_of(number: int) -> bytes:
    """1 to 20 bytes."""
    return hashlib.sha256(number.to_bytes(8)).digest()[: 4 + number % 17]


def record_of(serial: bytes, seq: int) -> bytes:
    """The record of that serial as of that place, of a size that changes with it."""
    spread = hashlib.shake_128(serial + seq.to_bytes(8)).digest(300)
    return pack_record(
        Record(
            codes.SHA1, codes.GOOD, spread[:8], 10, 2000, 10, seq=seq, signature=spread[: SIZES[spread[9] % len(SIZES)]]
        )
    )


def is_right(serial: bytes, octets: bytes) -> bool:
    """Whether the bytes are a record of that serial, whole."""
    return record_of(serial, unpack_record(octets).seq) == octets


def churn(table: Table, prepared: list[tuple[bytes, bytes]], draw: random.Random) -> None:
    """One change: newer records over older ones, others, now and then one less."""
    serial, octets = draw.choice(prepared)
    if draw.random() < 0.1:
        table.discard(1, codes.SHA1, serial)
    table.put(1, codes.SHA1, serial, octets)


def prepared_records(draw: random.Random) -> list[tuple[bytes, bytes]]:
    """Two of each key, one newer than the other."""
    serials = [serial_of(number) for number in range(KEYS)]
    return [(serial, record_of(serial, draw.randrange(1000))) for serial in serials for _ in range(2)]


def write(table: Table) -> int:
    """Change the table for a while; how many changes."""
    draw = random.Random(3)
    prepared, end = prepared_records(draw), time.monotonic() + SECONDS
    for changes in count():
        if changes % 100 == 0:
            table.set_tick(changes)
            if time.monotonic() > end:
                return changes
        churn(table, prepared, draw)
    raise AssertionError


def read(table: Table) -> int:
    """Read for a while from the first record on; how many records were right. All were."""
    draw, right, end = random.Random(os.getpid()), 0, time.monotonic() + PATIENCE
    serials = [serial_of(number) for number in range(KEYS)]
    while time.monotonic() < end:
        for serial in draw.sample(serials, 100):
            octets = table.get(1, codes.SHA1, serial)
            if octets is not None:
                if not is_right(serial, octets):
                    raise AssertionError(f"{serial.hex()}: {octets.hex()}")
                right += 1
                end = end if right > 1 else time.monotonic() + SECONDS
    return right


def be_killed(table: Table) -> int:
    """A writer is killed at any moment, a hundred times; how many records were right between. All were."""
    draw, right = random.Random(7), 0
    prepared = prepared_records(draw)
    for _ in range(100):
        child = os.fork()
        if child == 0:
            while True:
                churn(table, prepared, draw)
        time.sleep(draw.random() * 0.004)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        serial, octets = draw.choice(prepared)
        table.discard(1, codes.SHA1, serial)
        if not table.put(1, codes.SHA1, serial, octets) or table.get(1, codes.SHA1, serial) != octets:
            raise AssertionError("nothing can be kept after a writer was killed")
        for other in draw.sample(prepared, 200):
            found = table.get(1, codes.SHA1, other[0])
            right += found is not None
            if found is not None and not is_right(other[0], found):
                raise AssertionError(f"{other[0].hex()}: {found.hex()}")
    return right


def be_stopped(table: Table) -> int:
    """A writer is stopped with the mutex, and the others go on; how many records were read meanwhile."""
    draw = random.Random(9)
    prepared = prepared_records(draw)
    for serial, octets in prepared:
        table.put(1, codes.SHA1, serial, octets)
    child = os.fork()
    if child == 0:
        while True:
            churn(table, prepared, draw)
    try:
        while True:
            os.kill(child, signal.SIGSTOP)
            os.waitpid(child, os.WUNTRACED)
            if not table.put(2, codes.SHA1, b"held", prepared[0][1]):
                break
            os.kill(child, signal.SIGCONT)
            time.sleep(draw.random() * 0.001)
        read_while_held = 0
        for serial, _ in prepared:
            found = table.get(1, codes.SHA1, serial)
            read_while_held += found is not None
            if found is not None and not is_right(serial, found):
                raise AssertionError(f"{serial.hex()}: {found.hex()}")
        if table.put(2, codes.SHA1, b"held", prepared[0][1]):
            raise AssertionError("two writers at once")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    time.sleep(0.15)  # who waited in vain does not wait again for a tenth of a second
    if not table.put(2, codes.SHA1, b"held", prepared[0][1]):
        raise AssertionError("nothing can be kept after the stopped writer has gone")
    return read_while_held


def main(part: str, fd: int, limit: int) -> None:
    """Print the number that the part returns, and how often the table was emptied."""
    table = Table(limit, fd)
    number = {"write": write, "read": read, "be_killed": be_killed, "be_stopped": be_stopped}[part](table)
    sys.stdout.write(f"{number} {table.emptied}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
