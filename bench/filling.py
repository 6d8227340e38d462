"""Records of other certificates, into the answer table of a host that runs."""

import os
import time
from pathlib import Path

from _fastocsp.ocsp.record import pack_record
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record
from responder.config import EdgeSettings

BYTES_LIMIT: int = EdgeSettings.fields["table_bytes"].default


def fill(worker: int, count: int) -> int:
    """So many more, as another worker would write them; how many are there then.

    The memory is found among the open files of the worker's master, and has the usual limit.
    """
    master = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    opened = [path for path in Path(f"/proc/{master}/fd").iterdir() if "memfd:fastocsp-table" in str(path.readlink())]
    fd = os.open(opened[0], os.O_RDWR)
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
