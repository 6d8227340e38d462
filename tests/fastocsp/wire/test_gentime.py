"""Times on the wire against the standard library."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.wire.gentime import generalized_time, imf_fixdate

LAST = 2**32 - 1
DAY = 86400


def expected(seconds: int) -> tuple[bytes, str]:
    """Both forms by the standard library."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return b"\x18\x0f" + moment.strftime("%Y%m%d%H%M%SZ").encode(), format_datetime(moment, usegmt=True)


def test_every_day_of_the_range_is_right() -> None:
    """All 49,711 days from 1970 to 2106, 2000 a leap year and 2100 none."""
    for seconds in range(0, LAST, DAY):
        assert (generalized_time(seconds), imf_fixdate(seconds)) == expected(seconds)


@given(st.integers(0, LAST))
def test_every_second_is_right(seconds: int) -> None:
    """Compiled == standard library."""
    assert (generalized_time(seconds), imf_fixdate(seconds)) == expected(seconds)


@pytest.mark.parametrize("seconds", [0, 951782399, 951782400, 4107542399, 4107542400, LAST])
def test_the_borders_are_right(seconds: int) -> None:
    """The ends of the range and of the Februaries of 2000 and 2100."""
    assert (generalized_time(seconds), imf_fixdate(seconds)) == expected(seconds)


@pytest.mark.parametrize("seconds", [-1, LAST + 1])
def test_other_times_are_refused(seconds: int) -> None:
    """32 unsigned bits are the range."""
    with pytest.raises(OverflowError):
        generalized_time(seconds)
