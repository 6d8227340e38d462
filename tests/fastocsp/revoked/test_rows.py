"""Groups against plain dicts."""

from hypothesis import given
from hypothesis import strategies as st

from _fastocsp.revoked.rows import join_groups, merge_groups, missing_rows
from _fastocsp.wire.types import Groups

sets = st.dictionaries(
    st.tuples(st.integers(1, 3), st.binary(max_size=3)),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255)),
    max_size=20,
)
Plain = dict[tuple[int, bytes], tuple[int, int]]


def groups_of(plain: Plain) -> Groups:
    """Laid out."""
    return merge_groups({}, [(1, issuer_no, serial, *value) for (issuer_no, serial), value in plain.items()])


@given(sets, sets)
def test_groups_are_dicts(a: Plain, b: Plain) -> None:
    """Missing is the difference, join is the union in which the first wins."""
    assert missing_rows(groups_of(a), groups_of(b)) == groups_of({key: a[key] for key in a if key not in b})
    assert join_groups(groups_of(a), groups_of(b)) == groups_of(b | a)
