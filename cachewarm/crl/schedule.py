"""When CRLs are made: on time, and soon after a revocation, but once for many, however many warmers there are.

An issuer's CRLs are due CRL_GENERATION_INTERVAL after the last ones (a little earlier, differently in each warmer),
when one is missing or damaged, and CRL_DEBOUNCE after it was seen that they lack a change
(cachewarm.crl.pending_changes). A delta alone is due CRL_DELTA_INTERVAL after the last one. A failure is tried again
with a growing pause, and stops no other issuer.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from cachewarm.ca.ca_keys import CAKeys, LocalCAKeys
from cachewarm.config import Settings
from cachewarm.crl.parts import COMPLETE, DELTA, wanted_parts
from cachewarm.crl.pending_changes import Changes
from cachewarm.crl.regenerate import regenerate, regenerate_delta
from cachewarm.crl.sign_and_check import Rules
from cachewarm.crl.verify_published import check_published, published_crls
from cachewarm.errors import CachewarmError, Fatal, SignerAway, SignerUnavailable, Transient
from cachewarm.ledger import crl_states, issuers
from cachewarm.ledger.chunks import chunks
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.entered import changed_issuers, current_place

log = structlog.get_logger("crl")
TICK_S = 0.5
LONGEST_PAUSE_S = 300.0
#: While the CA signer does not run one attempt in so many seconds is made, for one issuer; while it cannot use an
#: issuer's key an attempt costs little: no number is spent and nothing is read.
WITHOUT_SIGNER_S, WITHOUT_KEY_S = 5.0, 20.0
START_JITTER_S = 30.0


class _Rows:
    """The issuers whose CRLs are made here, and the state of these, as they were read last."""

    def __init__(self) -> None:
        self.issuers: dict[str, issuers.Issuer] = {}
        self.states: dict[str, crl_states.ScheduledCRL] = {}
        self._ids: dict[int, str] = {}

    async def read(self, connection: Connection, ids: Sequence[str]) -> None:
        """Have the next round read these issuers again."""
        found = {issuer.issuer_id: issuer for issuer in await issuers.list_issuers(connection, ids)}
        states = await crl_states.scheduled_crls(connection, ids)
        for issuer_id in ids:
            self.issuers.pop(issuer_id, None)
            self.states.pop(issuer_id, None)
            issuer = found.get(issuer_id)
            if issuer is not None and issuer.publishes_crl and issuer.key_path is not None and not issuer.crl_source:
                self.issuers[issuer_id], self._ids[issuer.issuer_no] = issuer, issuer_id
                self.states |= {issuer_id: states[issuer_id]} if issuer_id in states else {}

    def ids_of(self, numbers: Iterable[int]) -> set[str]:
        """Return the ids of these issuers, where their CRLs are made here."""
        return {self._ids[number] for number in numbers if number in self._ids}


class CRLSchedule:
    """The schedule of one warmer; the turn in the ledger keeps several from building the same CRL."""

    def __init__(self, settings: Settings, keys: CAKeys | None = None) -> None:
        self._settings, self._keys = settings, keys or LocalCAKeys(settings.passphrase)
        self._changes = Changes()
        self._lacking: dict[str, float] = {}
        self._not_before: dict[tuple[str, str], tuple[float, float]] = {}
        self._failing: dict[str, str] = {}
        self._no_signer_until = 0.0
        self._sound: dict[str, tuple[issuers.Issuer, frozenset[str]]] = {}
        self._look_at: dict[str, float] = {}
        self._jitter = random.uniform(0, 0.1)  # noqa: S311 - spreads load, guards nothing
        # after a pause of all warmers many CRLs are old, but hold: they are not all made in the first second
        pause = min(START_JITTER_S, settings.crl_generation_interval / 10)
        self._old_from = time.monotonic() + random.uniform(0, pause)  # noqa: S311

    async def run(self, connection: Connection) -> None:
        """Run until cancelled. A tick costs two queries, however many issuers there are."""
        place, rows = await current_place(connection), _Rows()
        self._look_at = dict.fromkeys(await issuers.issuer_ids(connection), 0.0)
        while True:
            touched = await self._changes.read(connection)
            changed = await changed_issuers(connection, "crl", place)
            if touched is None or changed.ids is None:
                changed_ids = set(await issuers.issuer_ids(connection))
            else:
                changed_ids = {*changed.ids, *rows.ids_of(touched)}
            now = time.monotonic()
            due = changed_ids | {issuer_id for issuer_id, at in self._look_at.items() if at <= now}
            for ids in chunks(sorted(due)):
                await rows.read(connection, ids)
                for issuer_id in ids:
                    issuer, state = rows.issuers.get(issuer_id), rows.states.get(issuer_id)
                    if issuer is None or state is None:
                        self._look_at.pop(issuer_id, None)
                        continue
                    await self._look_after(connection, issuer, state)
                    self._look_at[issuer_id] = self._next_look(issuer, state)
            place = changed.place
            await asyncio.sleep(TICK_S)

    def _next_look(self, issuer: issuers.Issuer, state: crl_states.ScheduledCRL) -> float:
        """Return when CRLs can be due again without a change in the ledger, on the monotonic clock."""
        now = time.monotonic()
        if self._changes.is_settling(state.generation):
            return self._changes.settled_at
        share = 1 - self._jitter
        complete = now
        if state.is_usable and state.age_s is not None:
            complete = max(self._old_from, now + self._settings.crl_generation_interval * share - state.age_s)
        if issuer.issuer_id in self._lacking:
            complete = min(complete, self._lacking[issuer.issuer_id] + self._settings.crl_debounce)
        times = [max(complete, self._not_before.get((issuer.issuer_id, COMPLETE), (0.0, 0.0))[0])]
        if issuer.delta_crl:
            delta = now + self._settings.crl_delta_interval * share - (state.delta_age_s or 0.0)
            times.append(max(delta, self._not_before.get((issuer.issuer_id, DELTA), (0.0, 0.0))[0]))
        return max(min(times), self._no_signer_until)

    async def _look_after(self, connection: Connection, issuer: issuers.Issuer, state: crl_states.ScheduledCRL) -> None:
        """Make what is due; a failure of any kind is this issuer's alone, unless the connection is lost."""
        if self._changes.is_settling(state.generation) or time.monotonic() < self._no_signer_until:
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

    async def _is_due(self, connection: Connection, issuer: issuers.Issuer, state: crl_states.ScheduledCRL) -> bool:
        if not state.is_usable or state.age_s is None or self._has_lacked(issuer, state):
            return True
        old = self._settings.crl_generation_interval * (1 - self._jitter)
        if state.age_s >= old and time.monotonic() >= self._old_from:
            return True
        return state.parts != set(wanted_parts(issuer)) or await self._is_broken(connection, issuer, state)

    def _has_lacked(self, issuer: issuers.Issuer, state: crl_states.ScheduledCRL) -> bool:
        """Return whether a change has been lacking for CRL_DEBOUNCE, so that one CRL has many revocations."""
        if not self._changes.lacks(issuer.issuer_no, state.generation, state.seq):
            self._lacking.pop(issuer.issuer_id, None)
            return False
        since = self._lacking.setdefault(issuer.issuer_id, time.monotonic())
        return time.monotonic() >= since + self._settings.crl_debounce

    def _is_delta_due(self, state: crl_states.ScheduledCRL) -> bool:
        age = state.delta_age_s
        return age is None or age >= self._settings.crl_delta_interval * (1 - self._jitter)

    async def _is_broken(self, connection: Connection, issuer: issuers.Issuer, state: crl_states.ScheduledCRL) -> bool:
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
        build: Callable[[Connection, issuers.Issuer, CAKeys | None, Rules], Awaitable[int | None]],
    ) -> None:
        number = await build(connection, issuer, self._keys, rules_of(self._settings))
        if number is not None and build is regenerate:
            self._lacking.pop(issuer.issuer_id, None)
        for kind in (COMPLETE, DELTA) if build is regenerate else (DELTA,):
            self._not_before.pop((issuer.issuer_id, kind), None)
        if number is not None and self._failing.pop(issuer.issuer_id, None) is not None:
            log.info("CRL made again", issuer_id=issuer.issuer_id, number=number)

    def _note_failure(self, issuer_id: str, kind: str, error: Exception) -> None:
        """Log a failure when it is another one than the last; every one is in crl_generation_events."""
        if isinstance(error, SignerAway):
            self._no_signer_until = time.monotonic() + WITHOUT_SIGNER_S
        longest = WITHOUT_KEY_S if isinstance(error, SignerUnavailable) else LONGEST_PAUSE_S
        pause = min(longest, 2 * self._not_before.get((issuer_id, kind), (0.0, 1.0))[1])
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
