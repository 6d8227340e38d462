"""Every fault there is, made for a world; pairs of those that do not break the same thing."""

import itertools
import random
from collections.abc import Sequence

from tests.faults.fault import Fault
from tests.faults.history import Excused
from tests.faults.hostile import OF_STRANGERS
from tests.faults.links import OF_LINKS, LateReply, Pulled
from tests.faults.processes import OF_PROCESSES
from tests.faults.revoker import Revoker
from tests.faults.stalled import FirstPollStalled
from tests.faults.stores import OF_STORES, FullDisk
from tests.faults.world import World
from tests.faults.writers import OF_WRITERS, ByRevoker

Kind = type[Fault]
ALL: tuple[Kind, ...] = (*OF_PROCESSES, *OF_STORES, *OF_LINKS, *OF_WRITERS, FirstPollStalled, *OF_STRANGERS)
#: A fault of this length or more is drawn now and then in a full run.
LONG_S = (10.0, 30.0, 60.0)


def possible(world: World) -> tuple[list[Kind], list[str]]:
    """The faults that this machine can do, and those left out with the reason."""
    left_out: dict[Kind, str] = {}
    for kind in ALL:
        if kind is FullDisk and not world.small_disks:
            left_out[kind] = "no file system of our own can be mounted"
        if kind is Pulled and not world.own_networks:
            left_out[kind] = "no network namespace of our own can be made"
    return [kind for kind in ALL if kind not in left_out], [f"{kind.name}: {why}" for kind, why in left_out.items()]


def make(kind: Kind, world: World, revoker: Revoker) -> Fault:
    """One fault, to be injected once."""
    return kind(world, revoker) if issubclass(kind, ByRevoker) else kind(world)


def excuses_together(faults: Sequence[Fault]) -> list[Excused]:
    """What is not owed because of both."""
    if {"signer", "redis"} <= {fault.target for fault in faults}:
        return [Excused(why="neither Redis nor a signer: what is in no table has no answer")]
    return []


def singles(kinds: list[Kind], rng: random.Random) -> list[tuple[Kind, ...]]:
    """Each once, in seeded order."""
    return [(kind,) for kind in rng.sample(kinds, len(kinds))]


#: A late reply needs polls that are answered, and with a full journal every poll ends its connection.
NEVER_TOGETHER = [{FullDisk, LateReply}]


def pairs(kinds: list[Kind], rng: random.Random) -> list[tuple[Kind, ...]]:
    """Every two that can be at once and do not share a target, in seeded order."""
    found = [
        pair
        for pair in itertools.combinations(kinds, 2)
        if pair[0].target != pair[1].target and set(pair) not in NEVER_TOGETHER
    ]
    return rng.sample(found, len(found))
