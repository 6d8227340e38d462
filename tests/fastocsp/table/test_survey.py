"""The look at all entries of a table: what was used, and tags of exactly what is there."""

import os
import secrets
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.ocsp.record import pack_record
from _fastocsp.table.survey import by_uses, is_tagged, siphash_of, survey
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from _fastocsp.wire.types import Record
from responder.domain.key import Key
from responder.domain.redis_layout import record_name

KEY = bytes(range(16))
NOW = 1_700_000_000


def record(signature: bytes) -> bytes:
    """A good one with that signature."""
    of = Record(codes.SHA256, codes.GOOD, b"respondr", NOW - 60, NOW + 3600, NOW - 60)
    return pack_record(of._replace(signature=signature))


def whole(table: Table, since: int = 0, slice_: int = 3) -> "tuple[bytearray, array[int], int]":
    """A survey of the whole table, in slices: sketch, tags and entries seen."""
    sketch, tags, seen = bytearray(1 << 16), array("Q", bytes(8 << 15)), 0
    begin: int | None = 0
    while begin is not None:
        begin, more = survey(table, begin, slice_, since, KEY, sketch, tags, 1 << 14)
        seen += more
    return sketch, tags, seen


def test_siphash_is_the_one_of_its_authors() -> None:
    """The vectors of the paper and of the reference implementation."""
    assert siphash_of(KEY, bytes(range(15))) == 0xA129CA6149BE45E5
    assert siphash_of(KEY, b"") == 0x726FDB47DD0E0E31
    assert siphash_of(KEY, bytes(range(8))) == 0x93F5F5799A932462


def test_every_entry_is_seen_and_tagged_and_nothing_else_is() -> None:
    """Records of several sizes, some replaced and discarded: tags of those that are there, of no former one."""
    table = Table(4 << 20)
    table.set_tick(NOW)
    there = {}
    for number in range(3000):
        key = Key(1 + number % 3, codes.SHA256, os.urandom(1 + number % 20))
        there[key] = record(os.urandom(64 if number % 2 else 256))
        table.put(*key, there[key])
    replaced, discarded = list(there)[:100], list(there)[100:200]
    former = {key: there[key] for key in replaced}
    for key in replaced:
        there[key] = record(os.urandom(64))
        assert table.put(*key, there[key])
    gone = {key: there.pop(key) for key in discarded if table.discard(*key)}
    _, tags, seen = whole(table)
    assert seen == len(table) == len(there)
    assert all(is_tagged(KEY, tags, *key, octets) for key, octets in there.items())
    assert not any(is_tagged(KEY, tags, *key, octets) for key, octets in (former | gone).items())
    assert not any(is_tagged(secrets.token_bytes(16), tags, *key, octets) for key, octets in there.items())
    assert not any(is_tagged(KEY, tags, key[0] + 1, *key[1:], octets) for key, octets in there.items())


@given(st.binary(min_size=2, max_size=20), st.integers(1, 19))
def test_a_byte_that_moves_from_serial_to_record_changes_the_tag(serial: bytes, at: int) -> None:
    """The boundary between the two is in the tag."""
    table, octets = Table(1 << 20), record(b"s" * 64)
    table.put(1, codes.SHA256, serial, octets)
    _, tags, _ = whole(table)
    assert is_tagged(KEY, tags, 1, codes.SHA256, serial, octets)
    at = min(at, len(serial) - 1)
    assert not is_tagged(KEY, tags, 1, codes.SHA256, serial[:at], serial[at:] + octets)


def test_uses_are_counted_by_the_time_of_the_last_one() -> None:
    """Only what was used since then counts; names of Redis are told apart by it."""
    table = Table(1 << 20)
    keys = [Key(1, codes.SHA256, bytes([5, number])) for number in range(200)]
    table.set_tick(NOW - 600)
    for key in keys:
        table.put(*key, record(b"s" * 64))
    table.set_tick(NOW)
    for key in keys[:50]:
        table.get(*key)
    sketch = bytearray(1 << 16)
    for _ in range(3):
        survey(table, 0, 1000, NOW - 60, KEY, sketch)
    names = [record_name(key) for key in keys]
    often, some, none = by_uses(KEY, sketch, names, 2, 3)
    assert set(names[:50]) <= set(often)
    assert some == []
    assert len(none) >= 145


def test_a_survey_refuses_what_would_break_it() -> None:
    """A wrong key, and sketch or tags that are no power of two or too small for the room."""
    table, sketch = Table(1 << 20), bytearray(1 << 10)
    for key, places, tags, room in (
        (b"short", sketch, None, 0),
        (KEY, bytearray(1000), None, 0),
        (KEY, bytearray(), None, 0),
        (KEY, sketch, array("Q", bytes(8 * 12)), 4),
        (KEY, sketch, array("Q", bytes(8 * 16)), 16),
    ):
        with pytest.raises(ValueError, match=r"16 bytes|power of two"):
            survey(table, 0, 1, 0, key, places, tags, room)
