"""When CRLs are made: on time, and soon after a revocation, but once for many, however many warmers there are.

An issuer's CRLs are due CRL_GENERATION_INTERVAL after the last ones (a little earlier, differently in each warmer),
when one is missing or damaged, and CRL_DEBOUNCE after it was seen that they lack a change
(cachewarm.crl.pending_changes); a delta alone is due CRL_DELTA_INTERVAL after the last one. A failure is tried again
with a growing pause.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from cachewarm.config import Settings
from cachewarm.crl.parts import wanted_parts
from cachewarm.crl.pending_changes import Changes
from cachewarm.crl.regenerate import regenerate, regenerate_delta
from cachewarm.crl.sign_and_check import Rules
from cachewarm.crl.verify_published import check_published, published_crls
from cachewarm.errors import CachewarmError, Fatal
from cachewarm.ledger import issuers
from cachewarm.ledger.connect import Connection

log = structlog.get_logger("crl")
TICK_S = 0.5
LONGEST_PAUSE_S = 300.0
START_JITTER_S = 30.0


class CRLSchedule:
    """Of one warmer; the turn in the ledger keeps several from building the same CRL."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changes = Changes()
        self._lacking: dict[str, float] = {}
        self._not_before: dict[str, tuple[float, float]] = {}
        self._sound: dict[str, tuple[issuers.Issuer, frozenset[str]]] = {}
        self._jitter = random.uniform(0, 0.1)  # noqa: S311 - spreads load, guards nothing
        # after a pause of all warmers many CRLs are old, but hold: they are not all made in the first second
        pause = min(START_JITTER_S, settings.crl_generation_interval / 10)
        self._old_from = time.monotonic() + random.uniform(0, pause)  # noqa: S311

    async def run(self, connection: Connection) -> None:
        """Until cancelled."""
        while True:
            await self._changes.read(connection)
            for issuer in await issuers.list_issuers(connection):
                if not issuer.publishes_crl or issuer.key_path is None or issuer.crl_source is not None:
                    continue
                if await self._is_due(connection, issuer):
                    await self._make(connection, issuer, regenerate)
                elif issuer.delta_crl and await self._is_delta_due(connection, issuer):
                    await self._make(connection, issuer, regenerate_delta)
            await asyncio.sleep(TICK_S)

    async def _is_due(self, connection: Connection, issuer: issuers.Issuer) -> bool:
        if time.monotonic() < self._not_before.get(issuer.issuer_id, (0.0, 0.0))[0]:
            return False
        row = await connection.fetchrow(
            "select extract(epoch from now() - this_update)::float8 as age, next_update <= now() as over,"
            " octet_length(crl_der) as octets, generation, seq from crl_cache where issuer_id = $1",
            issuer.issuer_id,
        )
        if row is None or row["over"] or not row["octets"]:
            return True
        if self._has_lacked(issuer, row["generation"], row["seq"]):
            return True
        old = self._settings.crl_generation_interval * (1 - self._jitter)
        if row["age"] >= old and time.monotonic() >= self._old_from:
            return True
        if await self._lacks_parts(connection, issuer):
            return True
        return await self._is_broken(connection, issuer)

    def _has_lacked(self, issuer: issuers.Issuer, generation: int | None, seq: int | None) -> bool:
        """For CRL_DEBOUNCE, so that one CRL has all the revocations of a moment."""
        if not self._changes.lacks(issuer.issuer_no, generation, seq):
            self._lacking.pop(issuer.issuer_id, None)
            return False
        since = self._lacking.setdefault(issuer.issuer_id, time.monotonic())
        return time.monotonic() >= since + self._settings.crl_debounce

    async def _lacks_parts(self, connection: Connection, issuer: issuers.Issuer) -> bool:
        """A delta or a shard that somebody deleted or that the issuer has since a moment ago, or one too many."""
        rows = await connection.fetch("select part from crl_parts where issuer_id = $1", issuer.issuer_id)
        return {row["part"] for row in rows} != set(wanted_parts(issuer))

    async def _is_delta_due(self, connection: Connection, issuer: issuers.Issuer) -> bool:
        if time.monotonic() < self._not_before.get(issuer.issuer_id, (0.0, 0.0))[0]:
            return False
        age = await connection.fetchval(
            "select extract(epoch from now() - this_update)::float8 from crl_parts"
            " where issuer_id = $1 and part = 'delta'",
            issuer.issuer_id,
        )
        return age is None or age >= self._settings.crl_delta_interval * (1 - self._jitter)

    async def _is_broken(self, connection: Connection, issuer: issuers.Issuer) -> bool:
        """Whether somebody damaged a row, or they are not what the issuer's should be by now: each is looked at once
        after every change of it or of the issuer, whoever made it. As of its own thisUpdate, for the clocks of two
        warmers differ.
        """
        rows = await connection.fetch(
            "select xmin::text as version from crl_cache where issuer_id = $1"
            " union all select xmin::text from crl_parts where issuer_id = $1",
            issuer.issuer_id,
        )
        looked_at = issuer, frozenset(row["version"] for row in rows)
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
        try:
            number = await build(connection, issuer, self._settings.passphrase, rules_of(self._settings))
        except Fatal:
            raise
        except CachewarmError as error:
            pause = min(LONGEST_PAUSE_S, 2 * self._not_before.get(issuer.issuer_id, (0.0, 1.0))[1])
            self._not_before[issuer.issuer_id] = (time.monotonic() + pause, pause)
            log.error("CRL not made", issuer_id=issuer.issuer_id, error=str(error), again_in_s=pause)
            return
        if number is not None and build is regenerate:
            self._lacking.pop(issuer.issuer_id, None)
        self._not_before.pop(issuer.issuer_id, None)


def rules_of(settings: Settings, *, force: bool = False) -> Rules:
    """How CRLs are made under these settings; `force` publishes whatever their size."""
    return Rules(
        validity_s=settings.crl_validity,
        delta_validity_s=settings.crl_delta_validity,
        base_age_s=settings.crl_generation_interval,
        apart_s=1.0,
        shrink_limit=settings.crl_shrink_limit,
        growth_limit=settings.crl_growth_limit,
        force=force,
    )
