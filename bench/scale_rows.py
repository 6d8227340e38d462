"""One line of `make bench-scale`, whoever measured it."""

from typing import NamedTuple


class Row(NamedTuple):
    """What was measured, its goal, its value, and whether the value reaches the goal."""

    name: str
    goal: str
    value: str
    holds: bool
