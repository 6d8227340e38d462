"""Changes of a reason or an invalidity date are taken, audited and told to edges, or the answer says what is kept."""

from datetime import timedelta

import pytest

from cachewarm.ledger.audit import list_audit
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.issuers import Issuer
from cachewarm.ledger.revocations import revoke
from responder.domain.status import CRLReason
from tests.cachewarm.ledger.conftest import NOW, issuer, reader, serial, writer

__all__ = ["issuer", "reader", "writer"]


@pytest.mark.parametrize("before", [CRLReason.superseded, CRLReason.unspecified, CRLReason.certificateHold])
async def test_key_compromise_replaces_any_other_reason(
    reader: Connection, writer: Connection, issuer: Issuer, before: CRLReason
) -> None:
    """The change is an event of the feed and a row of the audit chain; edges that take a snapshot see it too."""
    first = await revoke(writer, "ca", serial(1), reason=before, actor="ann")
    since = NOW - timedelta(days=30)
    again = await revoke(writer, "ca", serial(1), reason=CRLReason.keyCompromise, invalidity_date=since, actor="bob")
    assert (again.changed, again.reason, again.revoked_at) == (True, CRLReason.keyCompromise, first.revoked_at)
    assert again.invalidity_date == since
    assert again.seq == first.seq + 1
    events = await list_audit(writer, serial_number=serial(1))
    assert [(event.action, event.actor, event.detail["reason"]) for event in events] == [
        ("amend", "bob", 1),
        ("revoke", "ann", before),
    ]
    assert await reader.fetchval("select reason from feed_snapshot") == 1
    assert not (await revoke(writer, "ca", serial(1), reason=CRLReason.keyCompromise, actor="bob")).changed


async def test_an_earlier_invalidity_date_wins_and_a_later_one_changes_nothing(
    writer: Connection, issuer: Issuer
) -> None:
    """The first one given used to stay for good."""
    for days, changed, stands in ((5, True, 5), (9, True, 9), (7, False, 9)):
        given = NOW - timedelta(days=days)
        done = await revoke(writer, "ca", serial(1), invalidity_date=given, actor="ann")
        assert (done.changed, done.invalidity_date) == (changed, NOW - timedelta(days=stands))


async def test_a_weaker_reason_changes_nothing_and_the_answer_names_what_stands(
    writer: Connection, issuer: Issuer
) -> None:
    """A permanent reason other than keyCompromise replaces no other one."""
    await revoke(writer, "ca", serial(1), reason=CRLReason.superseded, actor="ann")
    again = await revoke(writer, "ca", serial(1), reason=CRLReason.cessationOfOperation, actor="ann")
    assert (again.changed, again.reason) == (False, CRLReason.superseded)
