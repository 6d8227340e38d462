"""How a history may begin: a few steps into a kind of trouble that pure chance would seldom find. Chance goes on."""

from collections.abc import Callable

from responder.clock import NS
from tests.responder.feed.simulation.ledger import HOLD, HORIZON_S, REVOKE
from tests.responder.feed.simulation.watch import SERIALS
from tests.responder.feed.simulation.world import World


def nothing(world: World) -> None:
    """Nobody runs yet."""


def one(world: World) -> None:
    """One edge is live."""
    world.turn(world.edges[0])


def both(world: World) -> None:
    """Two edges are live."""
    for edge in world.edges:
        world.turn(edge)


def unknown(world: World) -> None:
    """An edge that no table knew had its first poll under way when a waiter looked; the answer is on its way now."""
    edge = world.edges[0]
    world.ask_and_stall(edge, 0)
    world.carry(0, again=False, fuse=None, power=False)
    world.ask_and_stall(edge, 0)
    world.write(REVOKE, SERIALS[0], 1, 0)
    world.judge()
    world.work(0)
    world.work(0)


def late(world: World) -> None:
    """An answer from before a revocation is still on its way when the horizon has passed."""
    one(world)
    world.ask_and_stall(world.edges[0], 2)
    world.write(REVOKE, SERIALS[0], HOLD, 0)
    world.advance(HORIZON_S * NS * 103 // 100)


def trimmed(world: World) -> None:
    """A poll had its status, and the outbox was trimmed before it read the rows; the answer is on its way."""
    one(world)
    for serial in SERIALS[:2]:
        world.write(REVOKE, serial, 1, 0)
    world.ask_and_stall(world.edges[0], 0)
    world.ledger.trim(1)
    world.work(0)
    world.work(0)


def doubled(world: World) -> None:
    """A snapshot comes twice, the second time after an acknowledged revocation."""
    edge = world.edges[0]
    world.ask_and_stall(edge, 0)
    world.carry(0, again=True, fuse=None, power=False)
    world.turn(edge)
    world.write(REVOKE, SERIALS[0], 1, 0)
    world.turn(edge)


def behind(world: World) -> None:
    """A worker is in the middle of the gate, its host behind a confirmed revocation."""
    one(world)
    world.write(REVOKE, SERIALS[0], 1, 0)
    world.advance(HORIZON_S * NS * 103 // 100)
    world.judge()
    world.begin_request(world.edges[0], SERIALS[0])
    world.serve(0)


def paged(world: World) -> None:
    """More rows than one poll returns, all of them confirmed; the first page is on its way."""
    one(world)
    world.write(REVOKE, SERIALS[1], HOLD, 0)
    for serial in (SERIALS[0], SERIALS[2], SERIALS[1]):
        world.write(REVOKE, serial, 1, 0)
    world.advance(HORIZON_S * NS * 103 // 100)
    world.judge()
    world.ask_and_stall(world.edges[0], 2)


OPENINGS: tuple[Callable[[World], None], ...] = (nothing, one, both, unknown, late, trimmed, doubled, behind, paged)
