"""One table of several processes: what is read is whole, whoever is killed or stopped while he writes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from _fastocsp.table.memory import TableMemory, make_table_memory
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from tests.fastocsp.table.sharing import record_of

#: Too small for all the keys, so that room changes hands all the time; and one with room for all.
LIMIT, ROOMY = 1 << 19, 8 << 20
ROOT = Path(__file__).parents[3]


@pytest.fixture
def memory() -> Iterator[int]:
    """Of the small table."""
    fd = make_table_memory(LIMIT)
    yield fd
    os.close(fd)


def start(part: str, fd: int, limit: int = LIMIT) -> "subprocess.Popen[str]":
    """A process that does that part."""
    words = [sys.executable, "-m", "tests.fastocsp.table.sharing", part, str(fd), str(limit)]
    return subprocess.Popen(words, cwd=ROOT, pass_fds=[fd], stdout=subprocess.PIPE, text=True)


def result(process: "subprocess.Popen[str]") -> tuple[int, int]:
    """What it counted, and how often it found the table emptied."""
    said = process.communicate(timeout=120)[0].split()
    assert process.returncode == 0
    return int(said[0]), int(said[1])


def test_no_reader_sees_half_a_record(memory: int) -> None:
    """Two writers change sizes, replace, discard and evict, two readers check every byte of every copy."""
    running = [start(part, memory) for part in ("write", "write", "read", "read")]
    (first, _), (second, _), (one, _), (two, emptied) = [result(process) for process in running]
    assert min(first, second) > 500
    assert min(one, two) > 500
    assert emptied == 0
    table = Table(LIMIT, memory)
    assert table.evicted > 100
    assert table.octets <= LIMIT


def test_a_writer_that_is_killed_leaves_a_table_that_works(memory: int) -> None:
    """Killed a hundred times, with the mutex or without it: nothing wrong is read, and the next one writes."""
    right, emptied = result(start("be_killed", memory))
    assert right > 0
    assert emptied > 0


def test_a_writer_that_is_stopped_keeps_nobody_from_reading() -> None:
    """It holds the mutex: records are found, a put gives up; when it is killed the next put empties and keeps."""
    memory = make_table_memory(ROOMY)
    try:
        found, emptied = result(start("be_stopped", memory, ROOMY))
    finally:
        os.close(memory)
    assert found > 1000
    assert emptied == 1


def test_what_one_process_keeps_the_others_find(memory: int) -> None:
    """And a process that starts later finds it too."""
    mine, others = Table(LIMIT, memory), Table(LIMIT, memory)
    assert mine.put(1, codes.SHA1, b"\1", record_of(b"\1", 5))
    assert others.get(1, codes.SHA1, b"\1") == record_of(b"\1", 5)
    assert others.put(1, codes.SHA1, b"\1", record_of(b"\1", 4)) is False
    assert Table(LIMIT, memory).get(1, codes.SHA1, b"\1") == record_of(b"\1", 5)
    assert others.discard(1, codes.SHA1, b"\1")
    assert mine.get(1, codes.SHA1, b"\1") is None
    assert mine.octets == others.octets


def test_memory_of_another_size_or_kind_is_refused(memory: int, tmp_path: Path) -> None:
    """A table of another limit, and any other file."""
    with pytest.raises(ValueError, match="another limit"):
        Table(LIMIT * 2, memory)
    for size in (0, 1 << 20):
        with (tmp_path / "file").open("w+b") as file:
            file.truncate(size)
            with pytest.raises(ValueError, match="not the memory"):
                TableMemory(file.fileno())
