"""How a history may begin: a few steps into a kind of trouble that pure chance would seldom find. Chance goes on."""

from collections.abc import Callable

from responder.clock import NS
from tests.responder.feed.simulation.ledger import HOLD, HORIZON_S, REVOKE
from tests.responder.feed.simulation.watch import SERIALS
from tests.responder.feed.simulation.world import STEPS, World


def nothing(world: World) -> None:
    """Nobody runs yet."""


def one(world: World) -> None:
    """One edge is live."""
    world.turn(world.edges[0])


def both(world: World) -> None:
    """Two edges are live."""
    for edge in world.edges:
        world.turn(edge)


def first(world: World) -> None:
    """The first poll of an edge's life was under way when a waiter looked; the answer is on its way now."""
    edge = world.edges[0]
    world.ask_and_stall(edge, 0)
    world.carry(0, again=False, fuse=None, power=False)
    world.ask_and_stall(edge, 2)
    world.write(REVOKE, SERIALS[0], 1, 0)
    world.judge()
    world.work(0)
    world.work(0)


def queued(world: World) -> None:
    """As `first`, but a second poll of the same life was waiting for the row all the time; both are answered now."""
    edge = world.edges[0]
    world.ask_and_stall(edge, 0)
    world.carry(0, again=False, fuse=None, power=False)
    world.ask_and_stall(edge, 2)
    world.ask_and_stall(edge, 1)
    world.write(REVOKE, SERIALS[0], 1, 0)
    world.judge()
    for _ in range(2 + STEPS):
        world.work(0)
    world.net.pop(0)


def spoken_for(world: World) -> None:
    """A live edge that has not heard of a revocation, and a stranger who acknowledges it."""
    one(world)
    world.write(REVOKE, SERIALS[0], 1, 0)
    world.speak_for(world.edges[0], stolen=True)


def by_name(world: World) -> None:
    """The same, but the stranger has another edge's login."""
    one(world)
    world.write(REVOKE, SERIALS[0], 1, 0)
    world.speak_for(world.edges[0], stolen=False)


def rewritten(world: World) -> None:
    """Answers are rewritten on the link while a revocation is waited for until its bound."""
    one(world)
    world.write(REVOKE, SERIALS[0], 1, 0)
    world.advance(HORIZON_S * NS // 2)
    world.ask_and_stall(world.edges[0], STEPS)
    world.tamper(0)
    world.carry(0, again=False, fuse=None, power=False)
    world.advance(HORIZON_S * NS * 53 // 100)


def late(world: World) -> None:
    """An answer from before a revocation is still on its way when the horizon has passed."""
    one(world)
    world.ask_and_stall(world.edges[0], STEPS)
    world.write(REVOKE, SERIALS[0], HOLD, 0)
    world.advance(HORIZON_S * NS * 103 // 100)


def trimmed(world: World) -> None:
    """A poll had its status, and the outbox was trimmed before it read the rows; the answer is on its way."""
    one(world)
    for serial in SERIALS[:2]:
        world.write(REVOKE, serial, 1, 0)
    world.ask_and_stall(world.edges[0], 2)
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
    world.ask_and_stall(world.edges[0], STEPS)


OPENINGS: tuple[Callable[[World], None], ...] = (
    nothing,
    one,
    both,
    first,
    queued,
    late,
    trimmed,
    doubled,
    behind,
    paged,
    spoken_for,
    by_name,
    rewritten,
)
