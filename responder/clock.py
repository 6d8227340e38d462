"""Time, read in one place and handed down: a lease needs two monotonic clocks, an answer needs the wall.

CLOCK_BOOTTIME goes on while the machine sleeps, CLOCK_MONOTONIC does not jump when it is corrected; a lease holds
only while both say so. The wall clock serves thisUpdate and nextUpdate alone.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

NS = 1_000_000_000


class Instant(NamedTuple):
    """One reading of the three clocks, nanoseconds."""

    boot: int
    mono: int
    wall: int

    @property
    def wall_s(self) -> int:
        """Whole epoch seconds, rounded down."""
        return self.wall // NS


Clock = Callable[[], Instant]


def read_clock() -> Instant:
    """Return this moment on all clocks."""
    return Instant(
        time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.time_ns()
    )
