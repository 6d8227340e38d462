"""CRLs of one build, each signed, read back and let through the gate before anything is published. No I/O."""

import time
from dataclasses import dataclass
from datetime import datetime

from _fastocsp.crl.entry_buffer import EntryBuffer
from cachewarm.ca.authority import Authority
from cachewarm.crl.build import CRLFields, EncodedEntries, build
from cachewarm.crl.comparison import Difference
from cachewarm.crl.parts import COMPLETE, DELTA, part_url, scope_of
from cachewarm.crl.plan import window
from cachewarm.crl.publish_gate import Expected, gate, size_problem
from cachewarm.crl.rules import CRLProblem, PreviousCRL
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


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """The inputs of one build; `row` and `issuer` are the same issuer in the ledger and in the domain."""

    row: issuers.Issuer
    issuer: Issuer
    authority: Authority
    rules: Rules
    started: datetime


@dataclass(frozen=True)
class Replaced:
    """The CRL that a new one replaces, None for the first one.

    `since`: how the entries differ, where they are compared; only the serials in `released` may be gone.
    """

    crl: PreviousCRL | None
    since: Difference | None = None
    released: frozenset[bytes] = frozenset()


@dataclass(frozen=True, kw_only=True)
class SignedCRL:
    """A CRL that passed the gate; times in epoch seconds."""

    number: int
    der: bytes
    this_update: int
    next_update: int
    count: int


def make_complete(
    context: BuildContext,
    number: int,
    entries: EncodedEntries,
    count: int,
    replaced: Replaced,
) -> SignedCRL:
    """The complete CRL; `count` is what the ledger says it must have, apart from its entries."""
    start, end = window(context.issuer, int(time.time()), int(context.rules.validity_s))
    fields = CRLFields(
        number=number,
        this_update=start,
        next_update=end,
        scope=scope_of(context.row, COMPLETE),
        freshest_url=part_url(context.row.crl_url, DELTA) if context.row.delta_crl else None,
    )
    made = _make(context, entries, fields, replaced, count)
    limits = context.rules
    if replaced.since is not None and not limits.force:
        problem = size_problem(made.count, replaced.since.count, shrink=limits.shrink_limit, growth=limits.growth_limit)
        if problem is not None:
            raise _not_published(problem)
    return made


def make_shard(
    context: BuildContext, whole: SignedCRL, shard: int, entries: EntryBuffer, old: PreviousCRL | None
) -> SignedCRL:
    """A shard of that complete CRL: its number, its times."""
    fields = CRLFields(
        number=whole.number,
        this_update=whole.this_update,
        next_update=whole.next_update,
        scope=scope_of(context.row, str(shard)),
    )
    return _make(context, EncodedEntries(0, 0, [entries]), fields, Replaced(old), None)


@dataclass(frozen=True)
class Changes:
    """Entries of a delta on the CRL of number `base`."""

    entries: EncodedEntries
    base: int


def make_delta(
    context: BuildContext, number: int, changes: Changes, replaced: Replaced, whole: SignedCRL | None
) -> SignedCRL:
    """A delta; with a complete CRL of the same moment it has its thisUpdate (RFC 5280 5.2.4)."""
    now = int(time.time()) if whole is None else whole.this_update
    start, end = window(context.issuer, now, int(context.rules.delta_validity_s))
    fields = CRLFields(
        number=number, this_update=start, next_update=end, scope=scope_of(context.row, DELTA), base_number=changes.base
    )
    return _make(context, changes.entries, fields, replaced, None)


def _make(
    context: BuildContext,
    entries: EncodedEntries,
    fields: CRLFields,
    replaced: Replaced,
    revoked_count: int | None,
) -> SignedCRL:
    der = build(context.issuer, context.authority.key, entries.parts[0], entries.latest, fields)
    expected = Expected(
        scope=fields.scope,
        base_number=fields.base_number,
        freshest_url=fields.freshest_url,
        revoked_count=revoked_count,
        since=replaced.since,
        released=replaced.released,
    )
    checked = gate(der, replaced.crl, context.issuer.cert_der, expected, now=int(time.time()))
    if isinstance(checked, CRLProblem):
        raise _not_published(checked)
    return SignedCRL(
        number=fields.number,
        der=der,
        this_update=fields.this_update,
        next_update=fields.next_update,
        count=checked,
    )


def _not_published(problem: CRLProblem) -> Refused:
    return Refused(f"the new CRL is not published ({problem.rule}): {problem.text}")
