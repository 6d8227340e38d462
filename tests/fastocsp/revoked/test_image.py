"""The revoked set is a dict, whatever the serial numbers and however often it is rebuilt."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from _fastocsp.revoked.image import RevokedImage, image_size
from _fastocsp.revoked.rows import merge_groups
from _fastocsp.wire.types import Groups, Item

SHARED = b"\xaa" * 8
SERIALS = [b"", b"\0", b"\1", b"\xff", b"\0\0", b"\0\1", SHARED, SHARED + b"\0", SHARED + b"\1", SHARED + b"\0" * 12]
SERIALS += [SHARED + b"\0" * 11 + b"\1", b"\xff" * 20, b"\0" * 20, *(n.to_bytes(3, "big") for n in range(40))]
CAPACITY = 25
Known = dict[tuple[int, bytes], tuple[int, int]]
serials = st.sampled_from(SERIALS) | st.binary(max_size=21)
issuers = st.sampled_from([1, 2, 0xFFFF])


def image_of(groups: Groups, capacity: int = CAPACITY) -> RevokedImage:
    """A new image in memory."""
    counts = {key: len(rows) // (key[1] + 5) for key, rows in groups.items()}
    image = RevokedImage(bytearray(image_size(counts, capacity)), writable=True)
    image.build(groups, capacity)
    image.check()
    return image


def groups_of(known: Known) -> Groups:
    """The layout, by sorting."""
    groups: Groups = {}
    for (issuer_no, serial), (time, reason) in sorted(known.items()):
        row = serial + struct.pack(">IB", time, reason)
        groups[issuer_no, len(serial)] = groups.get((issuer_no, len(serial)), b"") + row
    return groups


class RevokedMachine(RuleBasedStateMachine):
    """Against a dict from (issuer_no, serial) to (time, reason)."""

    def __init__(self) -> None:
        super().__init__()
        self.image = image_of({})
        self.model: Known = {}
        self.asked = {(issuer_no, serial) for serial in SERIALS for issuer_no in (1, 2)}

    @rule(
        op=st.integers(1, 3),
        issuer_no=issuers,
        serial=serials,
        time=st.integers(0, 2**32 - 1),
        reason=st.integers(0, 255),
    )
    def apply(self, op: int, issuer_no: int, serial: bytes, time: int, reason: int) -> None:
        self.asked.add((issuer_no, serial))
        full = self.image.delta_count == CAPACITY
        assert self.image.apply(op, issuer_no, serial, time, reason) is not full
        if full:
            return
        self.model.pop((issuer_no, serial), None)
        if op == 1:
            self.model[issuer_no, serial] = time, reason

    @rule()
    def rebuild(self) -> None:
        groups = self.image.compact()
        assert groups == groups_of(self.model)
        self.image = image_of(groups)
        assert self.image.listed == len(self.model)
        assert self.image.delta_count == 0

    @invariant()
    def same_content(self) -> None:
        for key in self.asked:
            assert self.image.find(*key) == self.model.get(key), key

    @invariant()
    def same_fences(self) -> None:
        fenced = {issuer_no for issuer_no, serial in self.model if not serial}
        assert self.image.fenced == len(fenced)
        assert {number for number in (1, 2, 0xFFFF) if self.image.is_fenced(number)} == fenced


TestRevokedIsADict = RevokedMachine.TestCase
TestRevokedIsADict.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)

DISTRIBUTIONS = {
    "sequential": [n.to_bytes(4, "big") for n in range(3000)],
    "sequential with a far end": [n.to_bytes(9, "big") for n in [*range(3000), 2**72 - 1]],
    "a far beginning": [b"\0" * 16, *((2**128 - n).to_bytes(16, "big") for n in range(1, 3000))],
    "one shared prefix": [SHARED + n.to_bytes(8, "big") for n in range(3000)],
    "two shared prefixes": [bytes((p,)) * 8 + n.to_bytes(3, "big") for p in (3, 200) for n in range(2000)],
    "the same in eight octets, apart behind": [SHARED + n.to_bytes(12, "little") for n in range(3000)],
    "powers of two": [(1 << n).to_bytes(20, "big") for n in range(160)],
    "random": [n.to_bytes(16, "big") for n in (pow(3, k, 2**127 - 1) for k in range(1, 3000))],
    "one octet": [bytes((n,)) for n in range(0, 256, 2)],
    "one row": [b"\x80" * 20],
    "nine rows": [bytes((n, n)) for n in range(9)],
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_every_row_is_found_and_nothing_else(name: str) -> None:
    """Each serial, and its neighbours on both sides only when they are rows themselves."""
    known = {(1, serial): (n, n % 256) for n, serial in enumerate(DISTRIBUTIONS[name])}
    image = image_of(groups_of(known))
    assert image.listed == len(known)
    for (issuer_no, serial), value in known.items():
        assert image.find(issuer_no, serial) == value
        number, size = int.from_bytes(serial, "big"), len(serial)
        for near in ((number - 1) % 256**size, (number + 1) % 256**size):
            asked = near.to_bytes(size, "big")
            assert image.find(1, asked) == known.get((1, asked))
    assert image.find(2, DISTRIBUTIONS[name][0]) is None


@pytest.mark.parametrize("size", range(1, 21))
def test_serials_of_every_length(size: int) -> None:
    """All-zero, all-one and middle serials of one length, found among those of all other lengths."""
    known = {(1, bytes((octet,)) * n): (octet, n) for n in range(1, 21) for octet in (0, 0x7F, 0x80, 0xFF)}
    image = image_of(groups_of(known))
    for octet in range(256):
        assert image.find(1, bytes((octet,)) * size) == known.get((1, bytes((octet,)) * size))


@pytest.mark.parametrize("serial", [b"\0" * 22, b"\0" * 300])
def test_what_is_no_serial_is_not_found_and_not_taken(serial: bytes) -> None:
    """More than 21 bytes."""
    image = image_of(groups_of({(1, b"\0" * 20): (1, 1)}))
    assert image.find(1, serial) is None
    with pytest.raises(ValueError, match="wrong length"):
        image.apply(1, 1, serial, 1, 1)


def test_an_image_is_built_in_used_memory_too() -> None:
    """What an earlier image left in the buffer is not seen in the next one."""
    memory = bytearray(b"\xff" * image_size({(1, 1): 1}, CAPACITY))
    image = RevokedImage(memory, writable=True)
    image.build({(1, 1): b"\1" + b"\0" * 5}, CAPACITY)
    assert image.find(1, b"\2") is None
    image.apply(1, 1, b"\2", 7, 1)
    image.build({(1, 1): b"\1" + b"\0" * 5}, CAPACITY)
    assert image.find(1, b"\2") is None
    assert image.find(1, b"\1") == (0, 0)


def test_a_reader_cannot_write_and_a_small_buffer_holds_nothing() -> None:
    """Read-only and too small are said before anything is touched."""
    groups = groups_of({(1, b"\1"): (1, 1)})
    memory = bytearray(image_size({(1, 1): 1}, CAPACITY))
    RevokedImage(memory, writable=True).build(groups, CAPACITY)
    reader = RevokedImage(memoryview(memory).toreadonly())
    assert reader.find(1, b"\1") == (1, 1)
    with pytest.raises(ValueError, match="read-only"):
        reader.apply(1, 1, b"\2", 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        reader.build(groups, CAPACITY)
    with pytest.raises(ValueError, match="too small"):
        RevokedImage(bytearray(len(memory) - 1), writable=True).build(groups, CAPACITY)
    with pytest.raises(BufferError):
        RevokedImage(bytes(memory), writable=True)


@pytest.mark.parametrize("cut", [0, 8, 55, 56, 100])
def test_half_an_image_is_none(cut: int) -> None:
    """A file that is shorter than its head says, or has another magic."""
    memory = bytearray(image_size({}, CAPACITY))
    RevokedImage(memory, writable=True).build({}, CAPACITY)
    with pytest.raises(ValueError, match="not an image"):
        RevokedImage(bytes(memory[:cut])).check()
    memory[0] ^= 1
    with pytest.raises(ValueError, match="not an image"):
        RevokedImage(bytes(memory)).check()


items = st.tuples(st.integers(1, 3), issuers, serials, st.integers(0, 2**32 - 1), st.integers(0, 255))


@given(st.lists(items, max_size=30), st.lists(items, max_size=30))
def test_merging_is_the_dict_union(first: list[Item], second: list[Item]) -> None:
    """In two steps as in one; the last item of a serial wins; no empty group is left."""
    known: Known = {}
    for op, issuer_no, serial, time, reason in first + second:
        known.pop((issuer_no, serial), None)
        if op == 1:
            known[issuer_no, serial] = time, reason
    assert merge_groups(merge_groups({}, first), second) == groups_of(known)
    assert merge_groups({}, first + second) == groups_of(known)
