"""When CRLs are made: on time, and soon after a revocation, but once for many.

An issuer's CRLs are due CRL_GENERATION_INTERVAL after the last ones (a little earlier, differently in each warmer),
when one is missing or does not parse, and CRL_DEBOUNCE after the first revocation that they lack; a delta alone is due
CRL_DELTA_INTERVAL after the last one. A failure is tried again with a growing pause.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable

import structlog

from cachewarm.config import Settings
from cachewarm.crl.checking import check_published, published_crls
from cachewarm.crl.make import Rules
from cachewarm.crl.parts import wanted_parts
from cachewarm.crl.regenerate import regenerate, regenerate_delta
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
        self._asked: dict[int, float] = {}
        self._not_before: dict[str, tuple[float, float]] = {}
        self._sound: dict[str, frozenset[str]] = {}
        self._jitter = random.uniform(0, 0.1)  # noqa: S311 - spreads load, guards nothing
        # after a pause of all warmers many CRLs are old, but hold: they are not all made in the first second
        pause = min(START_JITTER_S, settings.crl_generation_interval / 10)
        self._old_from = time.monotonic() + random.uniform(0, pause)  # noqa: S311

    def revoked(self, issuer_nos: Iterable[int]) -> None:
        """These issuers' CRLs lack something since now."""
        for number in issuer_nos:
            self._asked.setdefault(number, time.monotonic() + self._settings.crl_debounce)

    async def run(self, connection: Connection) -> None:
        """Until cancelled."""
        while True:
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
        asked = self._asked.get(issuer.issuer_no)
        if asked is not None and time.monotonic() >= asked:
            return True
        row = await connection.fetchrow(
            "select extract(epoch from now() - this_update)::float8 as age, next_update <= now() as over,"
            " octet_length(crl_der) as octets from crl_cache where issuer_id = $1",
            issuer.issuer_id,
        )
        if row is None or row["over"] or not row["octets"]:
            return True
        old = self._settings.crl_generation_interval * (1 - self._jitter)
        if row["age"] >= old and time.monotonic() >= self._old_from:
            return True
        if await self._lacks_parts(connection, issuer):
            return True
        return await self._is_broken(connection, issuer)

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
        """Whether somebody damaged a row: each is looked at once after every change, whoever made it."""
        rows = await connection.fetch(
            "select xmin::text as version from crl_cache where issuer_id = $1"
            " union all select xmin::text from crl_parts where issuer_id = $1",
            issuer.issuer_id,
        )
        versions = frozenset(row["version"] for row in rows)
        if self._sound.get(issuer.issuer_id) == versions:
            return False
        for one in await published_crls(connection, issuer.issuer_id):
            problem = await asyncio.to_thread(check_published, issuer, one, int(time.time()))
            if problem is not None:
                log.warning("published CRL is damaged", issuer_id=issuer.issuer_id, part=one.part, problem=problem)
                return True
        self._sound[issuer.issuer_id] = versions
        return False

    async def _make(
        self,
        connection: Connection,
        issuer: issuers.Issuer,
        build: Callable[[Connection, issuers.Issuer, bytes | None, Rules], Awaitable[int | None]],
    ) -> None:
        asked = self._asked.pop(issuer.issuer_no, None) if build is regenerate else None
        try:
            number = await build(connection, issuer, self._settings.passphrase, rules_of(self._settings))
        except Fatal:
            raise
        except CachewarmError as error:
            pause = min(LONGEST_PAUSE_S, 2 * self._not_before.get(issuer.issuer_id, (0.0, 1.0))[1])
            self._not_before[issuer.issuer_id] = (time.monotonic() + pause, pause)
            if asked is not None:
                self._asked.setdefault(issuer.issuer_no, asked)
            log.error("CRL not made", issuer_id=issuer.issuer_id, error=str(error), again_in_s=pause)
            return
        if number is None and asked is not None:
            self._asked.setdefault(issuer.issuer_no, time.monotonic() + TICK_S)
        self._not_before.pop(issuer.issuer_id, None)


def rules_of(settings: Settings, *, force: bool = False) -> Rules:
    """How CRLs are made under these settings; `force` publishes whatever their size."""
    return Rules(
        validity_s=settings.crl_validity,
        delta_validity_s=settings.crl_delta_validity,
        base_age_s=settings.crl_generation_interval,
        shrink_limit=settings.crl_shrink_limit,
        growth_limit=settings.crl_growth_limit,
        force=force,
    )
