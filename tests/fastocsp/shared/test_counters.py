"""Counters in memory that others read."""

import mmap
from pathlib import Path

import pytest

from _fastocsp.shared.counters import Counters
from responder.files import map_file, open_map


def test_numbers_add_up_and_stay_apart() -> None:
    """64 bits each, unsigned, modulo 2**64."""
    row = Counters(bytearray(32))
    assert row.count == 4
    row.add(1)
    row.add(1, 41)
    row.put(2, 2**64 - 1)
    row.add(3, 2**64 - 1)
    row.add(3, 2)
    assert [row.get(n) for n in range(4)] == [0, 42, 2**64 - 1, 1]


@pytest.mark.parametrize("index", [4, 2**63])
def test_there_is_nothing_outside_the_row(index: int) -> None:
    """An index beyond the end is an IndexError for all three; a partial number at the end is none."""
    row = Counters(bytearray(39))
    for call in (lambda: row.get(index), lambda: row.put(index, 1), lambda: row.add(index)):
        with pytest.raises(IndexError):
            call()


def test_a_negative_index_is_no_index() -> None:
    """It does not count from the end."""
    with pytest.raises(OverflowError):
        Counters(bytearray(32)).get(-1)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """A read-only map is seen to change and refuses to be changed."""
    row = Counters(map_file(tmp_path / "row", 64))
    view = Counters(open_map(tmp_path / "row"))
    row.put(7, 5)
    assert view.get(7) == 5
    with pytest.raises(IndexError):
        view.add(7)
    with pytest.raises(IndexError):
        view.put(7, 1)


def test_the_buffer_is_held() -> None:
    """A map in use cannot be closed under the counters."""
    memory = mmap.mmap(-1, 64)
    row = Counters(memory)
    with pytest.raises(BufferError):
        memory.close()
    del row
    memory.close()
