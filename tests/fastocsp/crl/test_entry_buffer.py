"""Entries become one `bytes` with a frame, and nobody writes into what somebody reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.crl.entry_buffer import EntryBuffer
from _fastocsp.crl.entry_writer import EntryWriter
from tests.reference.crl import Entry
from tests.support.copy_rows import stream


def written(count: int) -> tuple[EntryBuffer, bytes]:
    """Entries in a buffer, and a copy of them."""
    writer = EntryWriter()
    writer.feed(stream(Entry((n + 70000).to_bytes(3), 1000, 1) for n in range(count)))
    [buffer] = writer.take_parts()
    return buffer, bytes(buffer)


@given(st.sampled_from([0, 1, 500]), st.binary(max_size=5000), st.binary(max_size=5000))
def test_frame_is_around_the_entries(count: int, before: bytes, after: bytes) -> None:
    """Whether the buffer must grow for it or not; afterwards it is empty."""
    buffer, entries = written(count)
    assert len(buffer) == len(entries)
    framed = buffer.framed(before, after)
    assert framed == before + entries + after
    assert hash(framed) == hash(before + entries + after)
    assert (len(buffer), bytes(buffer)) == (0, b"")


def test_entries_are_taken_once_and_not_while_they_are_read() -> None:
    """BufferError, as of a bytearray that is resized; a reader sees the same bytes as before."""
    buffer, entries = written(3)
    with memoryview(buffer) as view:
        assert view.readonly
        with pytest.raises(BufferError):
            buffer.framed(b"", b"")
        assert bytes(view) == entries
    assert buffer.framed(b"", b"") == entries
    with pytest.raises(BufferError):
        buffer.framed(b"", b"")
