"""Byte ranges and content codings, as RFC 9110 14 and 12.5.3 have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responder.web.ranges import Unsatisfiable, accepts_gzip, byte_range


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=5-", (5, 100)),
        ("bytes=-7", (93, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=90-500", (90, 100)),
        ("BYTES = 1-1", (1, 2)),
        (None, None),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=9-5", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-9", None),
        ("bytes=a-b", None),
        ("bytes=0-" + "9" * 5000, None),
    ],
)
def test_ranges(field: str | None, wanted: tuple[int, int] | None) -> None:
    """One satisfiable range of bytes, or the whole."""
    assert byte_range(field, 100) == wanted


@pytest.mark.parametrize("field", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end(field: str) -> None:
    """416."""
    with pytest.raises(Unsatisfiable):
        byte_range(field, 100)


@given(st.text(max_size=40), st.integers(1, 1000))
def test_any_field_gives_a_range_inside_or_none(field: str, length: int) -> None:
    """Never an error, never bytes that are not there."""
    try:
        part = byte_range(field, length)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part[0] < part[1] <= length


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("x-gzip", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("*;q=0, gzip", True),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("", False),
        (None, False),
        ("gzip;q=banana", False),
    ],
)
def test_gzip(field: str | None, wanted: bool) -> None:
    """When it is named with a weight, or everything is."""
    assert accepts_gzip(field) is wanted
