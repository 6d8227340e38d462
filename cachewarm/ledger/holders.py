"""Find the sessions that hold what another session waits for, and end them.

A revocation waits for one row of the ledger's head (0018). Somebody's forgotten transaction may hold it: the session
that waits then reports it, goes on trying, and ends the holder where a person said so.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import NamedTuple

from cachewarm.errors import CachewarmError, Transient
from cachewarm.ledger.connect import Connection, translated
from responder.tasks import end_tasks

#: A wait that is shorter needs no explanation.
PATIENT_S = 1.0
#: Ending a holder and the audit row take at most this.
_FINISH_S = 10.0


class Holder(NamedTuple):
    """A session at the front of the queue; `since`, `state`, `query` are None where the ledger's owner may not see."""

    pid: int
    login: str
    address: str
    since: datetime | None
    state: str | None
    query: str | None

    def __str__(self) -> str:
        since = f" since {self.since:%H:%M:%S} UTC" if self.since else ""
        query = f" ({self.state}): {self.query}" if self.query else ""
        return f"{self.login} at {self.address}{since}{query}"


class HolderWatch(NamedTuple):
    """How to deal with a held ledger: on which connection to ask, whom to tell, whether to end the holder."""

    connect: Callable[[], AbstractAsyncContextManager[Connection]]
    tell: Callable[[str], None]
    force: bool = False
    actor: str = "fastocsp"


async def holders(connection: Connection, waiting: int) -> list[Holder]:
    """Return the sessions that `waiting` (a process number at the server) waits for, over any queue in between."""
    with translated():
        rows = await connection.fetch(
            "select pid, login, address, since, state, query from ledger_holders($1)", waiting
        )
    return [Holder(**dict(row)) for row in rows]


async def end_holder(connection: Connection, waiting: int, holder: int, *, actor: str) -> bool:
    """End the session `holder`, audited. `waiting` must be a session of the caller's own login that waits for it."""
    with translated():
        return await connection.fetchval(  # type: ignore[no-any-return]
            "select ledger_end_holder($1, $2, $3)", waiting, holder, actor
        )


@asynccontextmanager
async def watched(connection: Connection, watch: HolderWatch | None) -> AsyncIterator[None]:
    """Around statements that may wait for others: each holder is told once, and ended with `force`.

    Transient of the statement says who held the ledger, when anybody did.
    """
    if watch is None:
        yield
        return
    told: dict[int, Holder] = {}
    done = asyncio.Event()
    watching = asyncio.create_task(_watch(connection.get_server_pid(), watch, told, done))
    try:
        yield
    except Transient as error:
        if not told:
            raise
        names = "; ".join(str(holder) for holder in told.values())
        raise type(error)(f"{error}; the ledger is held by {names}") from error
    finally:
        done.set()  # an end under way is finished first, or it would be missing in the audit chain
        await asyncio.wait([watching], timeout=_FINISH_S)
        await end_tasks([watching])


async def _watch(waiting: int, watch: HolderWatch, told: dict[int, Holder], done: asyncio.Event) -> None:
    if await _is_set(done, PATIENT_S):
        return
    try:
        async with watch.connect() as second:
            while not done.is_set():
                for holder in await holders(second, waiting):
                    if holder.pid not in told:
                        watch.tell(f"the ledger is held by {holder}" + ("; ending it" if watch.force else ""))
                    told[holder.pid] = holder
                    if watch.force:
                        await end_holder(second, waiting, holder.pid, actor=watch.actor)
                await _is_set(done, PATIENT_S / 4)
    except CachewarmError as error:
        watch.tell(f"who holds the ledger cannot be told: {error}")


async def _is_set(event: asyncio.Event, within_s: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within_s)
    return event.is_set()
