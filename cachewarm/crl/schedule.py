"""When CRLs are made: on time, and soon after a revocation, but once for many, however many warmers there are.

An issuer's CRLs are due CRL_GENERATION_INTERVAL after the last ones (a little earlier, differently in each warmer),
when one is missing or damaged, and CRL_DEBOUNCE after it was seen that they lack a change
(cachewarm.crl.pending_changes). A delta alone is due CRL_DELTA_INTERVAL after the last one. A failure is tried again
with a growing pause, and stops no other issuer.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from cachewarm.config import Settings
from cachewarm.crl.parts import COMPLETE, DELTA, wanted_parts
from cachewarm.crl.pending_changes import Changes
from cachewarm.crl.regenerate import regenerate, regenerate_delta
from cachewarm.crl.sign_and_check import Rules
from cachewarm.crl.verify_published import check_published, published_crls
from cachewarm.errors import CachewarmError, Fatal, Transient
from cachewarm.ledger import crls, issuers
from cachewarm.ledger.connect import Connection

log = structlog.get_logger("crl")
TICK_S = 0.5
LONGEST_PAUSE_S = 300.0
START_JITTER_S = 30.0


class CRLSchedule:
    """The schedule of one warmer; the turn in the ledger keeps several from building the same CRL."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changes = Changes()
        self._lacking: dict[str, float] = {}
        self._not_before: dict[tuple[str, str], tuple[float, float]] = {}
        self._failing: dict[str, str] = {}
        self._sound: dict[str, tuple[issuers.Issuer, frozenset[str]]] = {}
        self._jitter = random.uniform(0, 0.1)  # noqa: S311 - spreads load, guards nothing
        # after a pause of all warmers many CRLs are old, but hold: they are not all made in the first second
        pause = min(START_JITTER_S, settings.crl_generation_interval / 10)
        self._old_from = time.monotonic() + random.uniform(0, pause)  # noqa: S311

    async def run(self, connection: Connection) -> None:
        """Run until cancelled."""
        while True:
            await self._changes.read(connection)
            states = await crls.scheduled_crls(connection)
            for issuer in await issuers.list_issuers(connection):
                if issuer.publishes_crl and issuer.key_path is not None and issuer.crl_source is None:
                    await self._look_after(connection, issuer, states.get(issuer.issuer_id))
            await asyncio.sleep(TICK_S)

    async def _look_after(
        self, connection: Connection, issuer: issuers.Issuer, state: crls.ScheduledCRL | None
    ) -> None:
        """Make what is due; a failure of any kind is this issuer's alone, unless the connection is lost."""
        if state is None:
            return  # registered since the states were read
        if self._changes.is_settling(state.generation):
            return
        kind = COMPLETE
        try:
            if not self._waits(issuer, COMPLETE) and await self._is_due(connection, issuer, state):
                await self._make(connection, issuer, regenerate)
            elif issuer.delta_crl and not self._waits(issuer, DELTA) and self._is_delta_due(state):
                kind = DELTA
                await self._make(connection, issuer, regenerate_delta)
        except Fatal:
            raise
        except Exception as error:
            if connection.is_closed():
                raise Transient(f"Postgres cannot be reached: {error or type(error).__name__}") from error
            self._note_failure(issuer.issuer_id, kind, error)

    def _waits(self, issuer: issuers.Issuer, kind: str) -> bool:
        """Return whether the pause after a failure is not over; a delta that fails does not delay complete CRLs."""
        return time.monotonic() < self._not_before.get((issuer.issuer_id, kind), (0.0, 0.0))[0]

    async def _is_due(self, connection: Connection, issuer: issuers.Issuer, state: crls.ScheduledCRL) -> bool:
        if not state.is_usable or state.age_s is None or self._has_lacked(issuer, state):
            return True
        old = self._settings.crl_generation_interval * (1 - self._jitter)
        if state.age_s >= old and time.monotonic() >= self._old_from:
            return True
        return state.parts != set(wanted_parts(issuer)) or await self._is_broken(connection, issuer, state)

    def _has_lacked(self, issuer: issuers.Issuer, state: crls.ScheduledCRL) -> bool:
        """Return whether a change has been lacking for CRL_DEBOUNCE, so that one CRL has many revocations."""
        if not self._changes.lacks(issuer.issuer_no, state.generation, state.seq):
            self._lacking.pop(issuer.issuer_id, None)
            return False
        since = self._lacking.setdefault(issuer.issuer_id, time.monotonic())
        return time.monotonic() >= since + self._settings.crl_debounce

    def _is_delta_due(self, state: crls.ScheduledCRL) -> bool:
        age = state.delta_age_s
        return age is None or age >= self._settings.crl_delta_interval * (1 - self._jitter)

    async def _is_broken(self, connection: Connection, issuer: issuers.Issuer, state: crls.ScheduledCRL) -> bool:
        """Return whether a row is damaged or no longer what the issuer's should be.

        CRLs are checked once after every change of a row or of the issuer. Each is checked as of its own thisUpdate,
        because the clocks of two warmers differ.
        """
        looked_at = issuer, state.versions
        if self._sound.get(issuer.issuer_id) == looked_at:
            return False
        for one in await published_crls(connection, issuer.issuer_id):
            problem = await asyncio.to_thread(check_published, issuer, one, int(one.this_update.timestamp()))
            if problem is not None:
                log.warning("published CRL is damaged", issuer_id=issuer.issuer_id, part=one.part, problem=problem)
                return True
        self._sound[issuer.issuer_id] = looked_at
        return False

    async def _make(
        self,
        connection: Connection,
        issuer: issuers.Issuer,
        build: Callable[[Connection, issuers.Issuer, bytes | None, Rules], Awaitable[int | None]],
    ) -> None:
        number = await build(connection, issuer, self._settings.passphrase, rules_of(self._settings))
        if number is not None and build is regenerate:
            self._lacking.pop(issuer.issuer_id, None)
        for kind in (COMPLETE, DELTA) if build is regenerate else (DELTA,):
            self._not_before.pop((issuer.issuer_id, kind), None)
        if number is not None and self._failing.pop(issuer.issuer_id, None) is not None:
            log.info("CRL made again", issuer_id=issuer.issuer_id, number=number)

    def _note_failure(self, issuer_id: str, kind: str, error: Exception) -> None:
        """Log a failure when it is another one than the last; every one is in crl_generation_events."""
        pause = min(LONGEST_PAUSE_S, 2 * self._not_before.get((issuer_id, kind), (0.0, 1.0))[1])
        self._not_before[issuer_id, kind] = (time.monotonic() + pause, pause)
        text = f"{type(error).__name__}: {error}"
        if self._failing.get(issuer_id) != text:
            self._failing[issuer_id] = text
            is_foreseen = isinstance(error, CachewarmError)
            log.error("CRL not made", issuer_id=issuer_id, error=str(error), again_in_s=pause, exc_info=not is_foreseen)


def rules_of(settings: Settings, *, force: bool = False) -> Rules:
    """Return how CRLs are made under these settings; `force` publishes whatever their size."""
    return Rules(
        validity_s=settings.crl_validity,
        delta_validity_s=settings.crl_delta_validity,
        base_age_s=settings.crl_generation_interval,
        apart_s=1.0,
        shrink_limit=settings.crl_shrink_limit,
        growth_limit=settings.crl_growth_limit,
        force=force,
    )
