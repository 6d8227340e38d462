"""Who has a CRL already: by its name and tag alone, and never once it has ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.http.not_modified import CRLTags

NOW = 1_700_000_000
FIELDS = b'ETag: W/"%s"\r\nAccept-Ranges: bytes\r\n'


def of(*names: bytes, end: int = NOW + 100, max_age: int = 3600) -> CRLTags:
    """Each has its own name as its tag."""
    return CRLTags((name, b'"' + name + b'"', FIELDS % name, NOW - 100, end, max_age) for name in names)


def test_the_head_of_a_304() -> None:
    """As it stands on the wire."""
    said = of(b"demo").answer(b"demo", b'W/"demo"', b"", NOW)
    assert said == (
        b"HTTP/1.1 304 Not Modified\r\nCache-Control: public, max-age=100, must-revalidate\r\n"
        b'ETag: W/"demo"\r\nAccept-Ranges: bytes\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n'
    )
    closed = of(b"demo").answer(b"demo", b"*", b"", NOW, keep_alive=False)
    assert closed is not None
    assert closed.endswith(b"GMT\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("end", "limit", "max_age"),
    [(NOW + 1, 3600, 1), (NOW + 3600, 3600, 3600), (NOW + 3601, 3600, 3600), (NOW + 86400, 60, 60), (NOW + 60, 0, 0)],
)
def test_max_age_ends_with_the_crl_or_at_the_limit(end: int, limit: int, max_age: int) -> None:
    """Whichever is first."""
    said = of(b"demo", end=end, max_age=limit).answer(b"demo", b"*", b"", NOW)
    assert said is not None
    assert b"max-age=%d," % max_age in said


@pytest.mark.parametrize("end", [NOW, NOW - 1, 0])
def test_a_crl_that_has_ended_is_not_confirmed(end: int) -> None:
    """Somebody else serves it, counts and says so."""
    assert of(b"demo", end=end).answer(b"demo", b"*", b"", NOW) is None


@pytest.mark.parametrize("tags", [b'"other"', b"demo", b'"demo', b'w/"demo"', b'"dem"', b'"demo "', b",", b'W/ "demo"'])
def test_another_tag_is_left_to_the_full_parser(tags: bytes) -> None:
    """As is one that is none."""
    assert of(b"demo").answer(b"demo", tags, b"", NOW) is None


@pytest.mark.parametrize(
    ("date", "has"),
    [
        (b"Tue, 14 Nov 2023 22:11:39 GMT", False),
        (b"Tue, 14 Nov 2023 22:11:40 GMT", True),
        (b"Tue, 14 Nov 2023 22:13:21 GMT", True),
        (b"Tuesday, 14-Nov-23 22:13:20 GMT", False),
        (b"never", False),
    ],
)
def test_a_date_tells_as_well(date: bytes, has: bool) -> None:
    """Not before thisUpdate, which is Last-Modified; the obsolete forms are for the full parser; a tag silences it."""
    assert (of(b"demo").answer(b"demo", b"", date, NOW) is not None) is has
    assert of(b"demo").answer(b"demo", b'"other"', date, NOW) is None
    assert of(b"demo", end=NOW).answer(b"demo", b"", date, NOW) is None


@given(st.sets(st.binary(min_size=1, max_size=6), max_size=12), st.binary(max_size=6))
def test_the_index_is_a_dict(names: set[bytes], asked: bytes) -> None:
    """Whatever the names: prefixes of each other, zeros, none at all."""
    tags = of(*names)
    for name in (*names, asked):
        said = tags.answer(name, b"*", b"", NOW)
        assert (said is not None) is (name in names)
        assert said is None or FIELDS % name in said
