"""When CRLs are made: on time, and soon after a revocation, but once for many.

An issuer's CRL is due CRL_GENERATION_INTERVAL after the last one (a little earlier, differently in each warmer), when
there is none or it does not parse, and CRL_DEBOUNCE after the first revocation that it lacks. A failure is tried again
with a growing pause.
"""

import asyncio
import random
import time
from collections.abc import Iterable

import structlog

from cachewarm.config import Settings
from cachewarm.crl.read import peek_crl
from cachewarm.crl.regenerate import regenerate
from cachewarm.errors import CachewarmError, Fatal
from cachewarm.ledger import crls, issuers
from cachewarm.ledger.connect import Connection

log = structlog.get_logger("crl")
TICK_S = 0.5
LONGEST_PAUSE_S = 300.0


class CRLSchedule:
    """Of one warmer; the turn in the ledger keeps several from building the same CRL."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked: dict[int, float] = {}
        self._not_before: dict[str, tuple[float, float]] = {}
        self._sound: dict[str, tuple[str, int]] = {}
        self._jitter = random.uniform(0, 0.1)  # noqa: S311 - spreads load, guards nothing

    def revoked(self, issuer_nos: Iterable[int]) -> None:
        """These issuers' CRLs lack something since now."""
        for number in issuer_nos:
            self._asked.setdefault(number, time.monotonic() + self._settings.crl_debounce)

    async def run(self, connection: Connection) -> None:
        """Until cancelled."""
        while True:
            for issuer in await issuers.list_issuers(connection):
                if issuer.publishes_crl and issuer.key_path is not None and await self._is_due(connection, issuer):
                    await self._make(connection, issuer)
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
        if row["age"] >= self._settings.crl_generation_interval * (1 - self._jitter):
            return True
        return await self._is_broken(connection, issuer.issuer_id, row["octets"])

    async def _is_broken(self, connection: Connection, issuer_id: str, octets: int) -> bool:
        """A row that somebody damaged: looked at once for each length and number."""
        number = await connection.fetchval("select crl_number::text from crl_cache where issuer_id = $1", issuer_id)
        seen = (number, octets)
        if self._sound.get(issuer_id) == seen:
            return False
        crl = await crls.read_crl(connection, issuer_id)
        try:
            broken = crl is not None and peek_crl(crl.crl_der).number != crl.crl_number
        except ValueError:
            broken = True
        if not broken:
            self._sound[issuer_id] = seen
        return broken

    async def _make(self, connection: Connection, issuer: issuers.Issuer) -> None:
        asked = self._asked.pop(issuer.issuer_no, None)
        try:
            number = await regenerate(connection, issuer, self._settings.passphrase, self._settings.crl_validity)
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
