"""Check settings by connecting: a ledger that this login may not use, a Redis that does not answer."""

import asyncio

from cachewarm.config import Settings
from cachewarm.errors import CachewarmError
from cachewarm.ledger.audit import verify_audit
from cachewarm.ledger.connect import Connection, connected
from cachewarm.ledger.logins import login_standing
from responder.setting_fields import PREFIX

#: Seconds for Redis to answer.
PATIENCE_S = 3.0


async def online_problems(settings: Settings) -> list[str]:
    """Return what is wrong with the servers behind the settings, one sentence each; both are asked at once."""
    found = await asyncio.gather(_ledger_problems(settings), _redis_problems(settings))
    return [problem for part in found for problem in part]


async def _ledger_problems(settings: Settings) -> list[str]:
    if settings.database_url is None:
        return [f"{PREFIX}DATABASE_URL is not set: no ledger to connect to"]
    try:
        async with connected(settings.database_url, name="fastocsp check-config") as connection:
            return await _standing(connection)
    except CachewarmError as error:
        return [f"{PREFIX}DATABASE_URL: {error}"]


async def _standing(connection: Connection) -> list[str]:
    standing = await login_standing(connection)
    problems = []
    if standing.is_standby:
        problems.append(
            f"{PREFIX}DATABASE_URL leads to a standby, which gives no leases and takes no revocation: name all servers,"
            " and add target_session_attrs=primary"
        )
    if not standing.groups and not standing.is_owner:
        problems.append(
            f"{PREFIX}DATABASE_URL: the login {standing.login} has no rights in this ledger; `fastocsp db roles` lists"
            " the logins, and `fastocsp edge add` makes those of an edge host"
        )
    if standing.may_read_audit:
        verdict = await verify_audit(connection)
        if verdict.broken_at is not None:
            problems.append(f"the audit chain does not hold at row {verdict.broken_at}: rows were changed or deleted")
    return problems


async def _redis_problems(settings: Settings) -> list[str]:
    if settings.redis_url is None:
        return []
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    client = Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=PATIENCE_S,
        socket_connect_timeout=PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        await client.ping()
    except (RedisError, OSError, ValueError) as error:
        return [f"{PREFIX}REDIS_URL: {str(error) or type(error).__name__}"]
    finally:
        await client.aclose()
    return []
