"""The state of a whole instance: processes, ledger, edges, issuers, Redis, the public listener.

Each part is asked by itself and says what is wrong with it, so a part that is down hides no other.
"""

import asyncio
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cachewarm.config import Settings
from cachewarm.errors import CachewarmError
from cachewarm.ledger import audit, edges, feed, fences, heartbeats
from cachewarm.ledger.connect import Connection, connected
from cachewarm.status.issuers import overviews, problems_of, row_of
from responder.config import INSTANCE_FILE
from responder.domain.redis_layout import WALK_NOTE
from responder.feed.inventory import QUIET_S

PATIENCE_S = 2.0
_REFUSALS_COUNT_FOR = timedelta(days=1)
#: Bytes of the warmer's note that are read.
MOST_OF_NOTE = 4096


@dataclass
class Part:
    """Facts of one part, its lists by name, and its problems."""

    facts: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


async def survey(settings: Settings) -> dict[str, Part]:
    """Every part by name."""
    ledger, cache, edge = await asyncio.gather(
        _ledger(settings), _redis(settings), asyncio.to_thread(edge_part, settings)
    )
    return {"processes": processes_part(settings.data_dir), "ledger": ledger, "redis": cache, "edge": edge}


def processes_part(data_dir: Path) -> Part:
    """Of the quickstart, when there is one."""
    part = Part()
    try:
        written = json.loads((data_dir / INSTANCE_FILE).read_text())
        pids = dict(written["pids"])
    except FileNotFoundError:
        part.facts = {"quickstart": "does not run here"}
        return part
    except (OSError, ValueError, KeyError, TypeError) as error:
        part.problems.append(f"{data_dir / INSTANCE_FILE} cannot be read: {error}")
        return part
    part.facts = {"quickstart": written.get("base_url"), "admin": written.get("admin_url")}
    for name, number in pids.items():
        for pid in number if isinstance(number, list) else [number]:
            part.rows.setdefault("pids", []).append({"process": name, "pid": pid, "runs": _runs(pid)})
        if not number:
            part.problems.append(f"{name} does not run")
    part.problems += [
        f"{row['process']} (pid {row['pid']}) is gone" for row in part.rows["pids"] if row["pid"] and not row["runs"]
    ]
    return part


def _runs(pid: int | None) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _ledger(settings: Settings) -> Part:
    part = Part()
    if settings.insecure_links:
        part.facts["insecure_links"] = settings.insecure_links
        part.problems.append(
            f"links that are not authenticated: {', '.join(settings.insecure_links)} (FASTOCSP_INSECURE_LINKS)"
        )
    if settings.database_url is None:
        part.problems.append("no ledger: FASTOCSP_DATABASE_URL is not set, and no quickstart runs here")
        return part
    try:
        async with connected(settings.database_url, name="fastocsp status") as connection:
            await _read_ledger(connection, settings, part)
    except CachewarmError as error:
        part.problems.append(str(error))
    return part


async def _read_ledger(connection: Connection, settings: Settings, part: Part) -> None:
    now = datetime.now(UTC)
    position = await feed.feed_position(connection)
    head = await audit.audit_head(connection)
    part.facts |= {
        "generation": position.generation,
        "seq": position.seq,
        "horizon_s": position.horizon.total_seconds(),
        "audit_seq": head.seq,
        "audit_hash": head.hash.hex(),
    }
    for lease in await feed.leases(connection):
        _see_lease(lease, position, now, part)
    for refusal in await edges.refusals(connection):
        if now - refusal.last_at < _REFUSALS_COUNT_FOR:
            part.problems.append(
                f"the login {refusal.login} at {refusal.address} polled as edge {refusal.edge}, which is not its own"
            )
    _see_warmers(await heartbeats.read_heartbeats(connection), part)
    grace = timedelta(seconds=settings.ocsp_responder_rotation_grace)
    for fence in await fences.open_fences(connection):
        part.problems.append(
            f"{fence.issuer_id} is fenced since {fence.since:%Y-%m-%dT%H:%M:%SZ} ({fence.reason}):"
            " nothing but `revoked` is answered for it; `fastocsp reconcile`"
        )
    part.rows.setdefault("issuers", [])
    for seen in await overviews(connection):
        part.rows["issuers"].append(row_of(seen))
        part.problems += problems_of(seen, now, ready_coverage=settings.ready_coverage, grace=grace)


def _see_warmers(heard: list[heartbeats.HeardOf], part: Part) -> None:
    """Warmers of the last day; one that is not heard of counts only when no other one is."""
    part.rows["warmers"] = [
        {
            "warmer": each.heartbeat.warmer,
            "age_s": round(each.age_s, 1),
            "walk_age_s": None if each.walk_age_s is None else round(each.walk_age_s, 1),
            "queue": each.heartbeat.queue,
            "rotation_failures": each.heartbeat.rotation_failures,
            "missing": each.heartbeat.missing,
            "failing": ", ".join(each.heartbeat.failing) or None,
        }
        for each in heard
    ]
    if not heard:
        part.problems.append("no warmer has been heard of for a day")
    elif heard[0].age_s > QUIET_S:
        part.problems.append(f"no warmer has been heard of for {heard[0].age_s:.0f} s")
    part.problems += [
        f"the warmer {each.heartbeat.warmer} fails at: {', '.join(each.heartbeat.failing)}"
        for each in heard
        if each.heartbeat.failing and each.age_s <= QUIET_S
    ]


def _see_lease(lease: feed.Lease, position: feed.FeedPosition, now: datetime, part: Part) -> None:
    age, lag = now - lease.at, position.seq - lease.acked
    expired = age > lease.horizon or not lease.leased
    part.rows.setdefault("edges", []).append(
        {
            "edge": lease.edge,
            "age_s": round(age.total_seconds(), 2),
            "lag": lag if lease.acked_gen == position.generation else None,
            "acked_generation": lease.acked_gen,
            "lease": "none yet" if not lease.renewals else "expired" if expired else "holds",
        }
    )
    if lease.login is None and not lease.edge.startswith("("):
        part.problems.append(f"edge {lease.edge} has no login and no lease: `fastocsp edge add {lease.edge}` makes one")
    elif lease.login is not None and lease.renewals and expired:
        part.problems.append(
            f"edge {lease.edge} has not asked for {age.total_seconds():.0f} s;"
            f" if it is gone for good: `fastocsp edge remove {lease.edge}`"
        )


async def _redis(settings: Settings) -> Part:
    part = Part()
    if settings.redis_url is None:
        part.facts = {"reachable": None, "redis": "not set: every answer is signed live"}
        return part
    from redis.exceptions import RedisError  # here, as most commands need no Redis

    try:
        note = await _walk_note(settings.redis_url.get_secret_value())
        part.facts = {"reachable": True, "walk": note and json.loads(note)}
    except (RedisError, OSError, ValueError) as error:
        part.facts = {"reachable": False}
        part.problems.append(f"Redis cannot be reached: {error}")
    return part


async def _walk_note(url: str) -> bytes | str | None:
    """What the warmer says of a walk under way; None when there is none, or none that takes long."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    client = Redis.from_url(
        url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, retry=Retry(NoBackoff(), 0)
    )
    try:
        return await client.getrange(WALK_NOTE, 0, MOST_OF_NOTE) or None
    finally:
        await client.aclose()


def edge_part(settings: Settings) -> Part:
    """Return what `/ready` of the edge answers."""
    url = f"http://{reachable(settings.host)}:{settings.port}/ready"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            said = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        try:
            said = json.loads(error.read())
        except ValueError:
            return Part({"url": url, "ready": False}, problems=[f"{url} answers {error.code}"])
    except (OSError, ValueError) as error:
        return Part({"url": url, "ready": False}, problems=[f"the edge does not answer at {url}: {error}"])
    facts = {key: value for key, value in said.items() if key not in ("reasons", "warnings", "issuers", "warmers")}
    problems = [f"the edge is not ready: {reason}" for reason in said.get("reasons", ())]
    problems += [f"the edge warns: {warning}" for warning in said.get("warnings", ())]
    return Part({"url": url} | facts, problems=problems)


def reachable(host: str) -> str:
    """An address to connect to where the listener takes any."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{address}]" if ":" in address else address
