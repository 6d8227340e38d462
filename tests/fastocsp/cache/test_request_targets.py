"""What a request target asks for: the bytes decide, whole, and nothing is known for longer than its place lasts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.cache.request_targets import Targets

KEY = (7, 2, b"\x05" * 16)
TARGET = b"/ocsp/MFEwTzBNMEswSTAJBgUr"

keys = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.binary(min_size=1, max_size=20))
#: Few enough to meet again, and with beginnings and ends in common.
targets = st.builds(
    lambda head, middle, tail: head + middle + tail,
    st.sampled_from([b"/ocsp/", b"/.well-known/pki/ocsp/demo/"]),
    st.binary(max_size=12).map(lambda octets: octets.hex().encode()),
    st.sampled_from([b"", b"=", b"A" * 9, b"B" * 9, b"A" * 240]),
)


def put(known: Targets, target: bytes, issuer_no: int, hash_algorithm: int, serial: bytes) -> None:
    """Twice: so that it is known."""
    known.put(target, issuer_no, hash_algorithm, serial)
    known.put(target, issuer_no, hash_algorithm, serial)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 15, 16, 17, 23, 24, 25, 200, 272, 273, 9000])
def test_targets_of_every_length(n: int) -> None:
    """Those of 16 to 272 bytes are known, and no neighbour of theirs: one byte more, less, or another one."""
    known, target = Targets(64), b"/" * n
    put(known, target, *KEY)
    assert known.get(target) == (KEY if 16 <= n <= 272 else None)
    assert known.get(target + b"/") is None
    assert n == 0 or known.get(target[1:]) is None
    for at in range(n):
        assert known.get(target[:at] + b"!" + target[at + 1 :]) is None


def test_what_is_cleared_is_not_known() -> None:
    """Nor what was never put; there is no key of zeros."""
    known = Targets(1)
    assert known.get(bytes(16)) is None
    put(known, TARGET, *KEY)
    known.clear()
    assert known.get(TARGET) is None
    assert known.get(bytes(16)) is None


def test_a_set_has_four_places() -> None:
    """The fifth target takes that of another one, and leaves nothing of its longer serial number."""
    known, keys = Targets(1), [(number, 1, b"\x01" * (20 - number)) for number in range(5)]
    for number, key in enumerate(keys):
        put(known, TARGET + b"%d" % number, *key)
        assert known.get(TARGET + b"%d" % number) == key
    found = [known.get(TARGET + b"%d" % number) for number in range(5)]
    assert found.count(None) == 1
    assert all(said in (None, key) for said, key in zip(found, keys, strict=True))


def test_what_is_asked_for_once_is_not_known() -> None:
    """It takes one place of the four, whoever else comes once; what is known stays in the others."""
    known = Targets(1)
    for number in range(4):
        put(known, TARGET + b"%d" % number, *KEY)
    for number in range(4, 1000):
        known.put(TARGET + b"%d" % number, *KEY)
        assert known.get(TARGET + b"%d" % number) is None
    assert [known.get(TARGET + b"%d" % number) for number in range(4)].count(KEY) == 3


def test_a_target_that_is_known_keeps_its_place() -> None:
    """And drives nobody out."""
    known = Targets(1)
    for number in (0, 1, 2, 3, 2, 1, 2):
        put(known, TARGET + b"%d" % number, *KEY)
    put(known, TARGET + b"1", 8, 1, b"\x01")
    assert [known.get(TARGET + b"%d" % number) for number in range(4)] == [KEY, (8, 1, b"\x01"), KEY, KEY]


@pytest.mark.parametrize("sets", [0, 3, 100])
def test_sets_are_a_power_of_two(sets: int) -> None:
    """Others are refused."""
    with pytest.raises(ValueError, match="power of two"):
        Targets(sets)


@pytest.mark.parametrize("key", [(65536, 1, b"\1"), (-1, 1, b"\1"), (1, 256, b"\1"), (1, 1, b""), (1, 1, b"\1" * 21)])
def test_what_is_no_key_is_refused(key: tuple[int, int, bytes]) -> None:
    """Nothing is kept of it."""
    known = Targets(1)
    with pytest.raises(ValueError, match="out of range"):
        put(known, TARGET, *key)
    assert known.get(TARGET) is None


@given(st.lists(st.tuples(targets, keys), max_size=60), st.sampled_from([1, 4, 64]))
def test_what_is_known_is_what_was_put_last(puts: list[tuple[bytes, tuple[int, int, bytes]]], sets: int) -> None:
    """Whatever collides: a target has its own last key or none."""
    known, said = Targets(sets), dict[bytes, tuple[int, int, bytes]]()
    for target, key in puts:
        known.put(target, *key)
        said[target] = key
        assert known.get(target) in (key, None)
        known.put(target, *key)
        assert known.get(target) == (key if 16 <= len(target) <= 272 else None)
    for target, key in said.items():
        assert known.get(target) in (key, None)
