"""The schedule of the walk: cut by serial, taken by due time, verified by age."""

import random
import sys

from cachewarm.ledger.inventory import LAST
from cachewarm.warmer.renewal import NEVER, Renewals, Wake, phase_of, visit_at
from cachewarm.warmer.segments import Segment, Segments
from responder.domain.window import LATEST, renewal_due

DAY = 86400


def cut_up(serials: list[bytes]) -> Segments:
    """Segments of one issuer that end at these serials."""
    segments = Segments()
    segments.add_issuer(1)
    [rest] = segments.take_due(0)
    for serial in serials:
        segments.cut(rest, serial)
    return segments


def test_every_serial_belongs_to_one_segment() -> None:
    """The ranges follow each other whatever was cut, and the search finds the one with the serial."""
    drawn = random.Random(5)
    serials = sorted(drawn.randbytes(drawn.randint(1, 20)) for _ in range(300))
    segments = cut_up(serials[::3])
    found = segments.of(1)
    assert [each.after for each in found] == [b"", *(each.until for each in found[:-1])]
    assert found[-1].until == LAST
    for serial in serials:
        segment = segments.find(1, serial)
        assert segment is not None
        assert segment.after < serial <= segment.until
    assert segments.find(2, serials[0]) is None


def test_what_is_due_is_taken_once_and_in_order() -> None:
    """Waking earlier counts, waking later does not; what was taken is held back until it is woken again."""
    segments = cut_up([b"\x10", b"\x20", b"\x30"])
    first, second, third, fourth = segments.of(1)
    for at, segment in ((50, first), (30, second), (40, second), (20, third), (90, fourth)):
        segments.wake(segment, at)
    assert segments.next_due() == 20
    assert segments.take_due(50) == [third, second, first]
    assert segments.take_due(50) == []
    segments.wake(first, 10)
    assert segments.take_due(50) == [first]
    segments.wake_all(5, lambda each: each is not fourth)
    assert set(segments.take_due(50)) == {first, second, third}
    segments.drop_issuer(1)
    assert (segments.take_due(1000), len(segments), segments.next_due()) == ([], 0, NEVER)


def test_the_least_recently_visited_is_verified_next() -> None:
    """Each in its turn, and none that was visited since."""
    segments = cut_up([b"\x10", b"\x20"])
    for number, segment in enumerate(list(segments), 1):
        segments.settle(segment, number)
    order = [segments.take_oldest(2), segments.take_oldest(2)]
    assert order[0] is order[1]
    assert order[0] is not None
    segments.settle(order[0], 9)
    following = segments.take_oldest(2)
    assert following is not None
    assert following.visited == 2
    segments.settle(following, 9)
    assert segments.take_oldest(2) is None


def test_a_segment_needs_less_than_a_byte_per_certificate() -> None:
    """A segment, its serials, its entry of the heap, the list and the order, for 2,000 certificates."""
    segment = Segment(issuer_no=1, after=bytes(16), until=bytes(16), due=1e9 + 0.5, visited=1e9 + 0.5)
    own = sum(map(sys.getsizeof, (segment, segment.after, segment.until, segment.due, segment.visited)))
    assert own + sys.getsizeof((0.0, 1, segment)) + 4 * 8 + 100 < 2000


def test_a_visit_is_never_after_the_first_record_is_due() -> None:
    """On the segment's own grid, and so that the visit signs that record: it is due within the slack."""
    renewals, drawn = Renewals(DAY), random.Random(6)
    for _ in range(1000):
        now, name = 1_700_000_000 + drawn.randrange(10**6), drawn.randbytes(16)
        life = drawn.choice((60, 3600, DAY // 3, DAY))
        wake = renewals.first_wake(now, now + life, now + 90 * DAY, name)
        at = visit_at(wake, phase_of(1, name), now)
        assert now < at <= wake.at == renewal_due(now, now + life, name)
        assert renewals.wake(now, now + life, now + 90 * DAY, name, int(at) + 1) is None


def test_a_record_that_reaches_its_certificates_end_is_renewed_once_more() -> None:
    """Not each time that what is left of its life has halved; a visit for another record renews it earlier."""
    renewals, now = Renewals(DAY), 1_700_000_000
    end = now + DAY - 100
    assert renewals.first_wake(now, end, end, b"x").at == now + LATEST * DAY
    later = now + int(LATEST * DAY)
    assert renewals.first_wake(later, end, end, b"x") == Wake()
    assert renewals.wake(later, end, end, b"x", later + 60) == Wake()
    assert renewals.wake(later, end, end, b"x", later + int(0.9 * (end - later))) is None
