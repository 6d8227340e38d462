"""Records of other certificates, into the answer table of a host that runs."""

import os
import time
from contextlib import suppress
from pathlib import Path

from _fastocsp.ocsp.record import pack_record
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record
from responder.config import EdgeSettings

_NAME = "memfd:fastocsp-table"
BYTES_LIMIT: int = EdgeSettings.fields["table_bytes"].default


def fill(worker: int, count: int) -> int:
    """So many more, as another worker would write them; how many are there then.

    The memory is found by the worker's mapping, in whichever process has its file open, and has the usual limit.
    """
    fd = os.open(_table_of(worker), os.O_RDWR)
    try:
        table = Table(BYTES_LIMIT, fd)
    finally:
        os.close(fd)
    now = int(time.time())
    record = Record(codes.SHA256, codes.GOOD, b"somebody", now - 600, now + 36_000, now - 600)
    octets = pack_record(record._replace(signature=b"\x01" + os.urandom(63)))
    for _ in range(count):
        while not table.put(1, codes.SHA256, b"\x01" + os.urandom(15), octets):
            # the worker is writing
            time.sleep(0.001)
    return len(table)


def _table_of(worker: int) -> Path:
    """Return the open file of the table that this worker has mapped."""
    mapped = next(line for line in Path(f"/proc/{worker}/maps").read_text().splitlines() if _NAME in line)
    inode = int(mapped.split()[4])
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # the process may have ended
            if _NAME in str(path.readlink()) and path.stat().st_ino == inode:
                return path
    raise FileNotFoundError(f"no process has the table of worker {worker} open")
