"""The table is a dict that forgets the oldest and never mixes two certificates up."""

import random
from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from _fastocsp.ocsp.record import MAX_SIGNATURE, RECORD_HEAD, pack_record
from _fastocsp.table.table import Table
from _fastocsp.wire import codes
from _fastocsp.wire.errors import MalformedRecord
from _fastocsp.wire.types import Record

FIRST_HOMES = 1024
Key = tuple[int, int, bytes]


def record(
    generation: int = 0, seq: int = 0, produced_at: int = 10, algorithm: int = codes.SHA1, size: int = 71
) -> bytes:
    """Bytes of a record of that age."""
    made = Record(algorithm, codes.GOOD, b"respondr", 10, 2000, produced_at, generation=generation, seq=seq)
    return pack_record(made._replace(signature=b"s" * size))


def hash_of(issuer_no: int, algorithm: int, serial: bytes) -> int:
    """The table's hash: FNV-1a, then two rounds of mixing."""
    h = 2166136261 ^ (issuer_no << 8) ^ algorithm
    for octet in serial:
        h = ((h ^ octet) * 16777619) & 0xFFFFFFFF
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        h = ((h ^ (h >> shift)) * factor) & 0xFFFFFFFF
    return h ^ (h >> 16)


def crowd(slots: range, each: int) -> list[Key]:
    """Keys whose home is one of these slots of a new table: they collide, and their runs touch."""
    found: dict[int, list[Key]] = defaultdict(list)
    for number in range(1 << 20):
        key = 1 + number % 3, codes.SHA1, (number // 3).to_bytes(4 + number % 17, "big")
        home = hash_of(*key) >> 22
        if home in slots and len(found[home]) < each and key not in found[home]:
            found[home].append(key)
        if len(found) == len(slots) and all(len(keys) == each for keys in found.values()):
            break
    return [key for keys in found.values() for key in keys]


# the last homes, so that runs reach behind them
CROWD = crowd(range(FIRST_HOMES - 3, FIRST_HOMES), 6)
AGES = [(g, s, p) for g in (0, 1) for s in (0, 2**40) for p in (10, 11)]


class TableMachine(RuleBasedStateMachine):
    """Against a dict that replaces by the newer age."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(1 << 20)
        self.model: dict[Key, tuple[tuple[int, int, int], bytes]] = {}

    @rule(key=st.sampled_from(CROWD), age=st.sampled_from(AGES), size=st.integers(0, 80))
    def put(self, key: Key, age: tuple[int, int, int], size: int) -> None:
        octets = record(*age, size=size)
        newer = key not in self.model or age >= self.model[key][0]
        assert self.table.put(*key, octets) is newer
        if newer:
            self.model[key] = age, octets

    @rule(key=st.sampled_from(CROWD))
    def discard(self, key: Key) -> None:
        assert self.table.discard(*key) is (self.model.pop(key, None) is not None)

    @rule(key=st.sampled_from(CROWD))
    def another_algorithm_is_another_key(self, key: Key) -> None:
        assert self.table.get(key[0], codes.SHA256, key[2]) is None
        assert self.table.get(key[0] + 3, key[1], key[2]) is None

    @invariant()
    def same_content(self) -> None:
        assert len(self.table) == len(self.model)
        for key in CROWD:
            assert self.table.get(*key) == (self.model[key][1] if key in self.model else None)


TestTableIsADict = TableMachine.TestCase
TestTableIsADict.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_the_crowd_collides() -> None:
    """The hash above is the table's: else the machine would test little."""
    homes = {hash_of(*key) >> 22 for key in CROWD}
    assert homes == {1021, 1022, 1023}
    assert len(set(CROWD)) == 18


def test_it_grows_and_shrinks_like_a_dict() -> None:
    """Twenty thousand keys in, half of them out again in any order, several times over its first size."""
    draw = random.Random(5)
    table, model = Table(64 << 20), {}
    for number in range(20000):
        key = draw.randrange(1, 4), codes.SHA1, draw.randbytes(draw.randrange(1, 21))
        model[key] = record(seq=number, size=number % 72)
        assert table.put(*key, model[key])
    for key in draw.sample(sorted(model), 10000):
        assert table.discard(*key)
        del model[key]
    assert len(table) == len(model)
    assert all(table.get(*key) == octets for key, octets in model.items())
    filled = table.octets
    for key in model:
        table.discard(*key)
    assert len(table) == 0
    assert table.octets < filled / 2


def test_memory_is_bounded_and_the_used_stay() -> None:
    """Above the limit old entries go, of those looked at the longest unused; what is asked for every tick stays."""
    limit = 256 << 10
    table = Table(limit)
    asked = [(1, codes.SHA1, b"asked" + bytes((n,))) for n in range(10)]
    kept = record()
    assert all(table.put(*key, kept) for key in asked)
    for tick in range(1, 5000):
        table.set_tick(tick * 16)
        assert all(table.get(*key) == kept for key in asked)
        octets = record(seq=tick)
        assert table.put(1, codes.SHA1, tick.to_bytes(4, "big"), octets)
        assert table.get(1, codes.SHA1, tick.to_bytes(4, "big")) == octets
        assert table.octets <= limit
    assert len(table) > 700
    assert table.evicted > 3000
    for tick in range(1, 5000):
        assert table.get(1, codes.SHA1, tick.to_bytes(4, "big")) in (None, record(seq=tick))


def test_a_size_that_is_new_takes_the_room_of_one_that_nobody_asks_for() -> None:
    """The table is full of P-256; RSA comes and is asked for: both have room, and RSA more with time."""
    table = Table(512 << 10)
    for number in range(5000):
        assert table.put(1, codes.SHA1, number.to_bytes(4, "big"), record(size=64))
    small = len(table)
    for tick in range(1, 1500):
        table.set_tick(tick * 16)
        assert table.put(2, codes.SHA1, tick.to_bytes(4, "big"), record(size=256))
        assert table.get(2, codes.SHA1, tick.to_bytes(4, "big")) == record(size=256)
        assert table.octets <= 512 << 10
    large = sum(table.get(2, codes.SHA1, tick.to_bytes(4, "big")) is not None for tick in range(1, 1500))
    assert large > 500
    assert len(table) - large < small / 2
    found = {table.get(1, codes.SHA1, number.to_bytes(4, "big")) for number in range(5000)}
    assert found <= {None, record(size=64)}


def test_every_size_of_record_finds_room_in_a_full_table() -> None:
    """Sizes come in any order, far more than there is room for: each is there right after it was put."""
    draw = random.Random(11)
    table = Table(1 << 20)
    for number in range(20000):
        table.set_tick(number)
        octets = record(seq=number, size=draw.choice([0, 64, 96, 256, 384, 512, draw.randrange(1025)]))
        key = draw.randrange(3), codes.SHA1, draw.randbytes(draw.randrange(1, 21))
        if table.put(*key, octets):
            assert table.get(*key) == octets
        assert table.octets <= 1 << 20
    assert table.evicted > 1000


def test_look_ups_while_it_grows() -> None:
    """At every step of growing each key is where it should be, those of the old index and those of the new."""
    table, keys = Table(16 << 20), [(1, codes.SHA1, number.to_bytes(3, "big")) for number in range(6000)]
    for number, key in enumerate(keys):
        assert table.put(*key, record(seq=number))
        if 700 < number < 900 or 1500 < number < 1800 or number % 997 == 0:
            assert all(table.get(*each) == record(seq=n) for n, each in enumerate(keys[: number + 1]))
            table.discard(*keys[number // 2])
            assert table.get(*keys[number // 2]) is None
            assert table.put(*keys[number // 2], record(seq=number // 2))


def test_what_can_never_fit_is_refused() -> None:
    """A limit below the empty table's own size keeps nothing, and says so."""
    table = Table(FIRST_HOMES * 8)
    assert table.put(1, codes.SHA1, b"\1", record()) is False
    assert table.get(1, codes.SHA1, b"\1") is None
    assert len(table) == 0


def test_the_largest_record_and_serial() -> None:
    """20 bytes of serial and 1024 of signature come back whole."""
    table, octets = Table(1 << 20), record(size=MAX_SIGNATURE)
    assert table.put(0xFFFF, codes.SHA1, b"\xff" * 20, octets)
    assert table.get(0xFFFF, codes.SHA1, b"\xff" * 20) == octets


@pytest.mark.parametrize(
    ("issuer_no", "algorithm", "serial"),
    [(0x10000, 1, b"\1"), (-1, 1, b"\1"), (1, 256, b"\1"), (1, 1, b""), (1, 1, b"\1" * 22)],
)
def test_keys_out_of_range_are_refused(issuer_no: int, algorithm: int, serial: bytes) -> None:
    """By all three ways in."""
    table = Table(1 << 20)
    for call in (
        lambda: table.put(issuer_no, algorithm, serial, record()),
        lambda: table.get(issuer_no, algorithm, serial),
    ):
        with pytest.raises(ValueError, match="out of range"):
            call()
    with pytest.raises(ValueError, match="out of range"):
        table.discard(issuer_no, algorithm, serial)


@pytest.mark.parametrize(
    "octets", [b"", record()[: RECORD_HEAD - 1], b"\1" + record()[1:], record(algorithm=codes.SHA256)]
)
def test_only_a_record_of_the_key_is_kept(octets: bytes) -> None:
    """No record, a cut one, one of another version, or one for another hash algorithm."""
    table = Table(1 << 20)
    with pytest.raises(MalformedRecord):
        table.put(1, codes.SHA1, b"\1", octets)
    assert len(table) == 0
