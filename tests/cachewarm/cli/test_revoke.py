"""`fastocsp revoke` and `unhold`: reasons, who is meant, what is kept, when it is confirmed."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection
from cachewarm.ledger.feed import set_horizon
from responder.domain.status import CRLReason
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.edges import lease

ONES = [reason for reason in CRLReason if reason is not CRLReason.removeFromCRL]


@pytest.fixture
def issued(root_ca: Fastocsp) -> str:
    """Serial number of a certificate of root; its file is a.example.pem."""
    return str(root_ca("ca", "issue", "root", "--name", "a.example", "--json").json["serial"])


@pytest.mark.parametrize("reason", ONES, ids=lambda reason: reason.name)
async def test_every_reason_by_its_name(root_ca: Fastocsp, issued: str, writer: Connection, reason: CRLReason) -> None:
    """And the row holds its number."""
    said = root_ca("revoke", "--serial", issued, "--reason", reason.name, "--json")
    assert said.status == 0
    assert (said.json["result"], said.json["status"], said.json["reason"]) == ("CONFIRMED", "revoked", reason.name)
    assert await writer.fetchval("select reason from certificate_revocations") == int(reason)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--reason", ("--serial", "01", "--reason", "removeFromCRL")),
        ("--reason", ("--serial", "01", "--reason", "boredom")),
        ("--invalidity-date", ("--serial", "01", "--invalidity-date", "yesterday")),
        ("--serial", ()),
        ("--cert", ("--serial", "01", "--cert", "a.example.pem")),
        ("--cert", ("--cert", "missing.pem")),
        ("--patience", ("--serial", "01", "--patience", "-1")),
    ],
    ids=str,
)
def test_usage_errors_name_the_option(root_ca: Fastocsp, issued: str, option: str, words: tuple[str, ...]) -> None:
    """Exit status 2, nothing on standard output."""
    said = root_ca("revoke", *words)
    assert (said.status, said.out) == (2, "")
    assert option in said.err


@pytest.mark.parametrize(
    "words", [("--serial", "0102"), ("--serial", "xyz"), ("--serial", "01", "--issuer", "no")], ids=str
)
async def test_what_nobody_issued_is_refused(root_ca: Fastocsp, writer: Connection, words: tuple[str, ...]) -> None:
    """Exit status 1, no row."""
    assert root_ca("revoke", *words).status == 1
    assert await writer.fetchval("select count(*) from certificate_revocations") == 0


def test_by_certificate_and_by_any_spelling_of_its_number(root_ca: Fastocsp, issued: str) -> None:
    """PEM file, or capitals with colons; the issuer is found."""
    colons = ":".join(issued[i : i + 2] for i in range(0, len(issued), 2)).upper()
    assert root_ca("revoke", "--cert", "a.example.pem", "--json").json["changed"] is True
    again = root_ca("revoke", "--serial", colons, "--json").json
    assert (again["changed"], again["serial_number"], again["issuer_id"]) == (False, issued, "root")


def test_a_number_of_two_issuers_needs_the_issuer(root_ca: Fastocsp) -> None:
    """The message names both; with --issuer it works."""
    assert root_ca("ca", "init", "--id", "other", "--subject", "CN=Other").status == 0
    (root_ca.folder / "index.txt").write_text("V\t20400101000000Z\t\t0A\tunknown\t/CN=h\n")
    for issuer in ("root", "other"):
        assert root_ca("import", "openssl", "index.txt", "--issuer", issuer).status == 0
    said = root_ca("revoke", "--serial", "0a")
    assert (said.status, "other and root" in said.err) == (1, True)
    assert root_ca("revoke", "--serial", "0a", "--issuer", "other", "--json").json["issuer_id"] == "other"


def test_repeating_keeps_the_earliest_time_and_the_first_reason(root_ca: Fastocsp, issued: str) -> None:
    """A revocation is never weakened or moved."""
    first = root_ca("revoke", "--serial", issued, "--reason", "keyCompromise", "--json").json
    second = root_ca("revoke", "--serial", issued, "--reason", "superseded", "--json").json
    kept = ("revoked_at", "reason")
    assert [second[name] for name in kept] == [first[name] for name in kept]
    assert second["changed"] is False


def test_a_hold_becomes_a_revocation_and_stays_one(root_ca: Fastocsp, issued: str) -> None:
    """From hold to keyCompromise; then neither a hold again nor a release."""
    assert root_ca("revoke", "--serial", issued, "--reason", "certificateHold").status == 0
    upgraded = root_ca("revoke", "--serial", issued, "--reason", "keyCompromise", "--json").json
    assert (upgraded["changed"], upgraded["reason"]) == (True, "keyCompromise")
    assert (
        root_ca("revoke", "--serial", issued, "--reason", "certificateHold", "--json").json["reason"] == "keyCompromise"
    )
    refused = root_ca("unhold", "--serial", issued)
    assert (refused.status, "keyCompromise" in refused.err) == (1, True)


def test_a_hold_is_released(root_ca: Fastocsp, issued: str) -> None:
    """And releasing it again is no error."""
    root_ca("revoke", "--serial", issued, "--reason", "certificateHold")
    assert root_ca("unhold", "--cert", "a.example.pem", "--wait", "--json").json["status"] == "good"
    assert root_ca("unhold", "--serial", issued, "--json").json["changed"] is False


async def test_an_edge_that_does_not_answer_bounds_the_wait(
    root_ca: Fastocsp, issued: str, database: DatabaseURLs, writer: Connection
) -> None:
    """Exit status 3 and BOUNDED with the edge's name when patience ends first; the revocation stands."""
    await lease(database, "edge-a", timedelta(seconds=20))
    said = root_ca("revoke", "--serial", issued, "--wait", "--patience", "0.2", "--json")
    assert said.status == 3
    assert (said.json["result"], said.json["edges"]) == ("BOUNDED", ["edge-a"])
    assert said.json["until"] is not None
    assert "edge-a" in said.err
    assert await writer.fetchval("select count(*) from certificate_revocations") == 1


async def test_without_waiting_the_bound_is_said_and_all_is_well(
    root_ca: Fastocsp, issued: str, database: DatabaseURLs
) -> None:
    """Exit status 0: nobody asked for more."""
    await lease(database, "edge-a", timedelta(seconds=20))
    said = root_ca("revoke", "--serial", issued, "--json")
    assert (said.status, said.json["result"]) == (0, "BOUNDED")


async def test_waiting_out_the_horizon_confirms(
    root_ca: Fastocsp, issued: str, database: DatabaseURLs, writer: Connection
) -> None:
    """When no lease from before can still stand, no edge can say good: that needs nobody's word."""
    await set_horizon(writer, 2)
    await lease(database, "edge-a", timedelta(seconds=2))
    begun = time.monotonic()
    said = root_ca("revoke", "--serial", issued, "--wait", "--json")
    assert (said.status, said.json["result"]) == (0, "CONFIRMED")
    assert time.monotonic() - begun >= 2


def test_plain_lines_to_a_pipe(root_ca: Fastocsp, issued: str) -> None:
    """One field a line."""
    said = root_ca("revoke", "--serial", issued)
    assert said.fields["serial_number"] == issued
    assert said.fields["status"] == "revoked"


def test_a_certificate_of_another_ca_is_nobodys(root_ca: Fastocsp, openssl: Callable[..., str], tmp_path: Path) -> None:
    """Even one whose issuer has the same name."""
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout x.key -out x.pem -subj", "/O=Example/CN=Root")
    said = root_ca("revoke", "--cert", "x.pem")
    assert (said.status, "none of our issuers" in said.err) == (1, True)
