"""Who revokes while faults are on: the product's own revoking and waiting, in this process, and the command for some.

Each change is tried again until it is CONFIRMED or its time is over; a change keeps the times that its first success
had. An unknown outcome is tried again too: repeating is safe and keeps the earliest time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cachewarm.errors import Transient
from cachewarm.ledger.connect import Connection, connect
from cachewarm.ledger.revocations import Revocation, bulk_revoke
from cachewarm.revocation.confirmation import Outcome, Waiting, wait_for_edges
from cachewarm.revocation.revoke import RevocationOutcome, Target, revoke, unhold
from responder.domain.status import CRLReason
from tests.faults.history import RELEASE, REVOKE, Change
from tests.faults.world import World

ISSUER, ACTOR = "demo", "faults"
GIVE_UP_S = 20.0
PAUSE_S = 0.1
Act = Callable[[Connection], Awaitable[RevocationOutcome]]


class Revoker:
    """Takes fresh certificates in order; `changes` is everything it began."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fresh: Iterator[Path] = iter(world.certificates)
        self.changes: list[Change] = []
        self.taken = 0

    def fresh(self) -> Path:
        """A certificate that is good."""
        self.taken += 1
        return next(self._fresh)

    async def single(self, how: str = "single", *, url: str = "", hold: bool = False) -> Change:
        """Revoke one and wait for the word."""
        change = self._begin(REVOKE, self.fresh().stem, how)
        reason = CRLReason.certificateHold if hold else CRLReason.keyCompromise

        async def act(connection: Connection) -> RevocationOutcome:
            return await revoke(
                connection,
                Target(ISSUER, bytes.fromhex(change.serial)),
                reason=reason,
                invalidity_date=None,
                actor=ACTOR,
                waiting=Waiting(True),
            )

        urls = [url] if url else []
        return await self._until_confirmed(change, act, urls)

    async def hold_and_release(self) -> Change:
        """Hold one, wait, release it, wait."""
        held = await self.single("hold", hold=True)
        if held.confirmed is None:
            return held
        change = self._begin(RELEASE, held.serial, "release")
        change.revoked_at = held.revoked_at

        async def act(connection: Connection) -> RevocationOutcome:
            return await unhold(
                connection, Target(ISSUER, bytes.fromhex(change.serial)), actor=ACTOR, waiting=Waiting(True)
            )

        return await self._until_confirmed(change, act, [])

    async def bulk(self, count: int) -> list[Change]:
        """Revoke so many in one statement and wait for all."""
        changes = [self._begin(REVOKE, self.fresh().stem, f"bulk of {count}") for _ in range(count)]
        while changes[0].confirmed is None and time.monotonic() < changes[0].begin + GIVE_UP_S:
            try:
                await self._try_bulk(changes)
            except (Transient, OSError, TimeoutError) as error:
                for change in changes:
                    change.outcome = f"{type(error).__name__}: {error}"
                await asyncio.sleep(PAUSE_S)
        return changes

    async def _try_bulk(self, changes: list[Change]) -> None:
        wanted = [Revocation(bytes.fromhex(change.serial), CRLReason.superseded) for change in changes]
        connection = await connect(self._world.writer_url, timeout_s=2)

        async def still_so() -> bool:
            rows = await connection.fetch(
                "select from certificate_revocations where serial_number = any($1)",
                [bytes.fromhex(change.serial) for change in changes],
            )
            return len(rows) == len(changes)

        try:
            done = await bulk_revoke(connection, ISSUER, wanted, actor=ACTOR)
            committed = time.monotonic()
            for change in changes:
                change.committed, change.tries = change.committed or committed, change.tries + 1
            waited = await wait_for_edges(
                connection, done.generation, done.seq, committed=committed, patience_s=None, still_so=still_so
            )
        finally:
            connection.terminate()
        for change in changes:
            change.outcome = waited.outcome.value
            change.confirmed = time.monotonic() if waited.outcome is Outcome.CONFIRMED else None

    async def command(self) -> Change:
        """`fastocsp revoke --wait`, as an operator."""
        path = self.fresh()
        change = self._begin(REVOKE, path.stem, "command")
        words = ("revoke", "--cert", str(path), "--wait", "--json")
        done = await asyncio.to_thread(self._world.centre.command, *words, check=False)
        change.tries, change.outcome = 1, "CONFIRMED" if done.returncode == 0 else f"exit {done.returncode}"
        if done.returncode == 0:
            change.committed = change.confirmed = time.monotonic()
        return change

    def _begin(self, kind: str, serial: str, how: str) -> Change:
        change = Change(kind, serial, time.monotonic(), how)
        self.changes.append(change)
        return change

    async def _until_confirmed(self, change: Change, act: Act, urls: list[str]) -> Change:
        """`urls` are tried first, one each, then the straight way."""
        while change.confirmed is None and time.monotonic() < change.begin + GIVE_UP_S:
            url = urls.pop(0) if urls else self._world.writer_url
            change.tries += 1
            try:
                await self._try(change, act, url)
            except (Transient, OSError, TimeoutError) as error:
                change.outcome = f"{type(error).__name__}: {error}"
            if change.confirmed is None:
                await asyncio.sleep(PAUSE_S)
        return change

    async def _try(self, change: Change, act: Act, url: str) -> None:
        connection = await connect(url, timeout_s=2)
        try:
            done = await act(connection)
        finally:
            with suppress(OSError):
                connection.terminate()
        now = time.monotonic()
        change.outcome = done.waited.outcome.value
        if done.result is not None and change.committed is None:
            change.committed = now - done.waited.waited_s
            if done.result.revoked_at is not None:
                change.revoked_at = int(done.result.revoked_at.timestamp())
        if done.waited.outcome is Outcome.CONFIRMED:
            change.confirmed = now
