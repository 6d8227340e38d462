"""CRLs of one build, each signed, read back and let through the gate before anything is published. No I/O."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from cachewarm.ca.authority import Authority
from cachewarm.crl.build import Shape, Taken, build
from cachewarm.crl.parse import peek_crl
from cachewarm.crl.parts import COMPLETE, DELTA, part_url, scope_of
from cachewarm.crl.plan import window
from cachewarm.crl.publish_gate import Expected, Refusal, gate, size_refusal
from cachewarm.errors import Refused
from cachewarm.ledger import issuers
from responder.domain.issuer import Issuer


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How CRLs are made; times in seconds. `base_age_s`: how long a replaced CRL stays a base (crl_parts.next_bases).
    `apart_s`: the least between the thisUpdates of two complete CRLs; with 1 no two have the same Last-Modified.

    Part of the entries that may leave, and times as many that may come, between two CRLs; `force` lets any through.
    """

    validity_s: float
    delta_validity_s: float = 3600.0
    base_age_s: float = 3600.0
    apart_s: float = 0.0
    shrink_limit: float = 0.5
    growth_limit: float = 100.0
    force: bool = False


@dataclass(frozen=True)
class Bench:
    """What one build works with."""

    row: issuers.Issuer
    issuer: Issuer
    authority: Authority
    rules: Rules
    started: datetime


@dataclass(frozen=True)
class Made:
    """A CRL that passed the gate."""

    number: int
    der: bytes
    this_update: int
    next_update: int
    count: int


def make_complete(bench: Bench, number: int, entries: Taken, count: int, old: bytes | None) -> Made:
    """The complete CRL; `count` is what the ledger says it must have, apart from its entries."""
    start, end = window(bench.issuer, int(time.time()), int(bench.rules.validity_s))
    shape = Shape(
        number=number,
        this_update=start,
        next_update=end,
        scope=scope_of(bench.row, COMPLETE),
        freshest_url=part_url(bench.row.crl_url, DELTA) if bench.row.delta_crl else None,
    )
    made = _make(bench, entries.parts[0], entries.latest, shape, old, count)
    if old is not None and not bench.rules.force:
        refused = size_refusal(made.count, old, shrink=bench.rules.shrink_limit, growth=bench.rules.growth_limit)
        if refused is not None:
            raise _not_published(refused)
    return made


def make_shard(bench: Bench, whole: Made, shard: int, entries: bytearray, old: bytes | None) -> Made:
    """A shard of that complete CRL: its number, its times."""
    shape = Shape(
        number=whole.number,
        this_update=whole.this_update,
        next_update=whole.next_update,
        scope=scope_of(bench.row, str(shard)),
    )
    return _make(bench, entries, 0, shape, old, None)


def make_delta(
    bench: Bench, number: int, changes: Taken, base_number: int, old: bytes | None, whole: Made | None
) -> Made:
    """A delta on that base; with a complete CRL of the same moment it has its thisUpdate (RFC 5280 5.2.4)."""
    now = int(time.time()) if whole is None else whole.this_update
    start, end = window(bench.issuer, now, int(bench.rules.delta_validity_s))
    shape = Shape(
        number=number, this_update=start, next_update=end, scope=scope_of(bench.row, DELTA), base_number=base_number
    )
    return _make(bench, changes.parts[0], changes.latest, shape, old, None)


def _make(
    bench: Bench, entries: bytearray, latest: int, shape: Shape, old: bytes | None, revoked_count: int | None
) -> Made:
    der = build(bench.issuer, bench.authority.key, entries, latest, shape)
    expected = Expected(
        scope=shape.scope,
        base_number=shape.base_number,
        freshest_url=shape.freshest_url,
        revoked_count=revoked_count,
    )
    verdict = gate(der, old, bench.issuer.cert_der, expected, now=int(time.time()))
    if isinstance(verdict, Refusal):
        raise _not_published(verdict)
    return Made(shape.number, der, shape.this_update, shape.next_update, verdict)


def _not_published(refusal: Refusal) -> Refused:
    return Refused(f"the new CRL is not published ({refusal.rule}): {refusal.text}")


def parsed_update(der: bytes) -> datetime | None:
    """The thisUpdate of a CRL; None for octets that are none."""
    try:
        return datetime.fromtimestamp(peek_crl(der).this_update, UTC)
    except ValueError:
        return None
