"""The cursor and the writer below every codec."""

import pytest
from asn1crypto import core, parser
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.wire.der import read_elements
from _fastocsp.wire.errors import WireError
from _fastocsp.wire.sink import tlv, unsigned_integer

SIZES = [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0xFFFFFF, 0x1000000]


@pytest.mark.parametrize("size", SIZES)
def test_lengths_are_minimal_at_every_border(size: int) -> None:
    """The header is what asn1crypto writes, and the cursor reads it back."""
    content = bytes(size)
    element = tlv(0x30, content)
    assert element == parser.emit(0, 1, 16, content)
    assert read_elements(element) == [(0x30, content)]


@given(st.lists(st.tuples(st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F), st.binary(max_size=300))))
def test_elements_are_read_as_written(elements: list[tuple[int, bytes]]) -> None:
    """decode(encode(x)) == x for any run of elements."""
    assert read_elements(b"".join(tlv(tag, content) for tag, content in elements)) == elements


@pytest.mark.parametrize(
    ("octets", "reason", "offset"),
    [
        ("30", "the octets end too early", 1),
        ("3001", "the length runs past the end", 1),
        ("3080", "the length is indefinite", 1),
        ("30800000", "the length is indefinite", 1),
        ("308100", "the length is not minimal", 1),
        ("30817f" + "00" * 127, "the length is not minimal", 1),
        ("30820080" + "00" * 128, "the length is not minimal", 1),
        ("308300ffff", "the length is not minimal", 1),
        ("3084ffffffff", "the length runs past the end", 1),
        ("3085", "the length is longer than four octets", 1),
        ("30ff", "the length is longer than four octets", 1),
        ("3082ff", "the octets end too early", 3),
        ("1f0101", "the tag number is above 30", 0),
        ("05000401", "the length runs past the end", 3),
    ],
)
def test_headers_that_are_not_der_are_refused_where_they_stand(octets: str, reason: str, offset: int) -> None:
    """The reason and the offset point at the byte that is wrong, X.690 8.1 and 10.1."""
    with pytest.raises(WireError) as caught:
        read_elements(bytes.fromhex(octets))
    assert (caught.value.reason, caught.value.offset) == (reason, offset)
    assert str(caught.value) == f"{reason} (at octet {offset})"


@given(st.integers(0, 2**200))
def test_integers_are_minimal_and_positive(number: int) -> None:
    """Leading zeros go, a sign byte comes, as asn1crypto writes it."""
    magnitude = number.to_bytes(30)
    assert unsigned_integer(magnitude) == core.Integer(number).dump()


def test_an_integer_needs_an_octet() -> None:
    """There is no number without one, X.690 8.3.1."""
    with pytest.raises(ValueError, match="at least one octet"):
        unsigned_integer(b"")
