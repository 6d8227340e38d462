from collections.abc import Iterable, Mapping

from _fastocsp.wire.types import Groups, Item

def merge_groups(groups: Mapping[tuple[int, int], bytes], items: Iterable[Item]) -> Groups:
    """Sorted rows after these items; the last item of a serial wins."""

def missing_rows(before: Mapping[tuple[int, int], bytes], after: Mapping[tuple[int, int], bytes]) -> Groups:
    """The rows of `before` whose serials `after` does not have."""

def join_groups(groups: Mapping[tuple[int, int], bytes], more: Mapping[tuple[int, int], bytes]) -> Groups:
    """Both together; where both have a serial the row of `groups` stands."""
