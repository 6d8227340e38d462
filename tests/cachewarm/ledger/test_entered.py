"""The log of changed issuers: by whom ever, once each, and dropped when it is old."""

from dataclasses import replace

import pytest

from cachewarm.ledger.connect import Connection
from cachewarm.ledger.entered import changed_issuers, current_place, forget_changes
from cachewarm.ledger.issuers import Issuer, add_issuer


@pytest.mark.parametrize(
    ("statement", "about"),
    [
        ("update issuers set ocsp_url = 'http://x' where issuer_id = 'ca'", {"issuer", "crl", "mirror"}),
        ("delete from issuer_certificates where issuer_id = 'ca'", {"issuer"}),
        (
            """insert into ocsp_responder_certs
                 (issuer_id, cert_subject, serial_number, not_before, not_after, cert_der)
               values ('ca', '', '\\x05', now(), now() + interval '1 day', '\\x00')""",
            {"issuer"},
        ),
        (
            """insert into crl_cache (issuer_id, crl_number, crl_der, this_update, next_update, revoked_count)
               values ('ca', 1, '\\x00', now(), now() + interval '1 day', 0)""",
            {"crl", "mirror"},
        ),
        ("update certificates set subject = 'CN=x' where issuer_id = 'ca'", set()),
    ],
)
async def test_a_change_is_logged_for_those_it_concerns(
    owner: Connection, writer: Connection, issuer: Issuer, statement: str, about: set[str]
) -> None:
    """One row per issuer and kind, whoever writes; a second reading finds nothing."""
    await add_issuer(writer, "cb", subject="CN=CB", cert_der=b"cb", actor="tests")
    place = await current_place(writer)
    await owner.execute(statement)
    for kind in ("issuer", "crl", "mirror"):
        changed = await changed_issuers(writer, kind, place)
        assert changed.ids == frozenset({"ca"} if kind in about else ())
        assert (await changed_issuers(writer, kind, changed.place)).ids == frozenset()


async def test_old_changes_are_dropped(owner: Connection, writer: Connection, issuer: Issuer) -> None:
    """After an hour; readers that were away for so long read every issuer anyway."""
    await owner.execute("update issuer_changes set at = at - interval '2 hours' where about = 'crl'")
    await forget_changes(writer)
    assert {row["about"] for row in await owner.fetch("select about from issuer_changes")} == {"issuer", "mirror"}


async def test_a_place_of_another_server_is_none_of_this_one(writer: Connection, issuer: Issuer) -> None:
    """After a failover, or in a ledger that lost its end, any issuer may have changed."""
    place = await current_place(writer)
    for other in (replace(place, server="another run"), replace(place, xmin=place.xmin + 1000)):
        changed = await changed_issuers(writer, "issuer", other)
        assert changed.ids is None
        assert changed.place.server == place.server
        assert changed.place.xmin < place.xmin + 1000
        assert (await changed_issuers(writer, "issuer", changed.place)).ids == frozenset()
