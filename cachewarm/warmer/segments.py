"""The schedule of the walk: the inventory cut into ranges of serials, and when each is visited next. In memory only.

About 400 bytes per segment of up to twice WARM_BATCH certificates. A restart begins with one segment per issuer, due at
once; its first visit cuts it up.
"""

import heapq
import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cachewarm.ledger.inventory import LAST
from cachewarm.warmer.renewal import NEVER


@dataclass(slots=True, kw_only=True, eq=False)
class Segment:
    """Certificates of one issuer with serials above `after`, up to and including `until`.

    `due` and `visited` are epoch seconds, `visited` is 0 before the first visit. `inventory` and `covered` were counted
    then; `is_blocked`: a new responder or CRL may allow records that could not be made then, or not for so long.
    """

    issuer_no: int
    after: bytes = b""
    until: bytes = LAST
    due: float = 0.0
    visited: float = 0.0
    inventory: int = 0
    covered: int = 0
    is_blocked: bool = False


class Segments:
    """Every segment, by issuer and serial, by due time, and by the last visit."""

    def __init__(self) -> None:
        self._by_issuer: dict[int, list[Segment]] = {}
        self._heap: list[tuple[float, int, Segment]] = []
        self._ticket = itertools.count()
        #: The least recently visited first.
        self._order: dict[Segment, None] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._order)

    @property
    def issuers(self) -> set[int]:
        """Numbers of the issuers that have segments."""
        return set(self._by_issuer)

    def of(self, issuer_no: int) -> list[Segment]:
        """Return an issuer's segments, by serial."""
        return self._by_issuer.get(issuer_no, [])

    def add_issuer(self, issuer_no: int, cuts: tuple[bytes, ...] = ()) -> None:
        """Begin with the whole range of serials, cut there, due at once."""
        bounds = (b"", *cuts, LAST)
        segments = [
            Segment(issuer_no=issuer_no, after=after, until=until) for after, until in itertools.pairwise(bounds)
        ]
        self._by_issuer[issuer_no] = segments
        for segment in segments:
            self._order[segment] = None
            self._push(segment)

    def drop_issuer(self, issuer_no: int) -> None:
        """Remove the segments of an issuer."""
        for segment in self._by_issuer.pop(issuer_no, []):
            segment.due = NEVER
            self._order.pop(segment, None)

    def find(self, issuer_no: int, serial: bytes) -> Segment | None:
        """Return the segment that this serial belongs to."""
        segments = self._by_issuer.get(issuer_no)
        if not segments:
            return None
        return segments[max(0, bisect_left(segments, serial, key=_begin_of) - 1)]

    def cut(self, segment: Segment, at: bytes) -> Segment:
        """Cut the range up to `at` off the beginning of a segment; return it."""
        first = Segment(issuer_no=segment.issuer_no, after=segment.after, until=at, due=NEVER, visited=segment.visited)
        segments = self._by_issuer.get(segment.issuer_no, [])
        position = bisect_left(segments, segment.after, key=_begin_of)
        if position < len(segments) and segments[position] is segment:  # the issuer may have gone meanwhile
            segments.insert(position, first)
            self._order[first] = None
        segment.after = at
        return first

    def wake(self, segment: Segment, at: float) -> None:
        """Visit a segment then, or earlier if it is due earlier already."""
        if at < segment.due:
            segment.due = at
            self._push(segment)

    def wake_all(self, at: float, which: Callable[[Segment], bool] = lambda _: True) -> None:
        """Do that for every segment that is meant."""
        for segment in self._order:
            if which(segment):
                self.wake(segment, at)

    def settle(self, segment: Segment, now: float) -> None:
        """Note the visit of a segment."""
        segment.visited = now
        if segment in self._order:
            del self._order[segment]
            self._order[segment] = None

    def take_due(self, now: float) -> list[Segment]:
        """Return what is due, the most overdue first, and hold it back until it is woken again."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            due, _, segment = heapq.heappop(self._heap)
            if segment.due == due:  # otherwise it has been woken, or visited, since
                segment.due = NEVER
                found.append(segment)
        return found

    def next_due(self) -> float:
        """Return when the next segment is due."""
        while self._heap and self._heap[0][2].due != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER

    def take_oldest(self, before: float) -> Segment | None:
        """Return the least recently visited segment, if it was visited before that, and hold it back."""
        segment = next(iter(self._order), None)
        if segment is None or segment.visited > before:
            return None
        segment.due = NEVER
        return segment

    def _push(self, segment: Segment) -> None:
        heapq.heappush(self._heap, (segment.due, next(self._ticket), segment))
        if len(self._heap) > 64 + 4 * len(self._order):
            self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
            heapq.heapify(self._heap)


def _begin_of(segment: Segment) -> bytes:
    return segment.after
