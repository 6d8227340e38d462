"""`fastocsp audit`: the timeline, the verification, and an export that holds without the ledger."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.ledger.connect import Connection, connected
from tests.cachewarm.cli.conftest import Fastocsp, Run


@pytest.fixture
async def owner(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """The owner's connection to the ledger."""
    async with connected(database.owner) as connection:
        yield connection


@pytest.fixture
def used(root_ca: Fastocsp) -> Fastocsp:
    """A CA that issued a certificate and revoked it."""
    issued = root_ca("ca", "issue", "root", "--name", "a.example", "--json").json
    assert root_ca("revoke", "--serial", issued["serial"], "--reason", "superseded").status == 0
    return root_ca


def test_timeline_of_a_certificate_names_who_did_what(used: Fastocsp) -> None:
    """What was issued, by whom, with which command; filters narrow it."""
    events = used("audit", "list", "--json").json["events"]
    assert [event["action"] for event in events] == ["issuer", "certificate", "revoke"]
    made, issued, revoked = events
    assert made["detail"]["after"]["subject"] == "CN=Root,O=Example"
    assert issued["detail"]["application"] == "fastocsp ca issue"
    assert issued["actor"] == revoked["actor"]
    assert issued["serial_number"] == revoked["serial_number"]
    serial = issued["serial_number"]
    for words, count in (
        (("--serial", serial.upper()), 2),
        (("--action", "issuer", "--action", "revoke"), 2),
        (("--since", "2999-01-01"), 0),
        (("--until", "2999-01-01T00:00:00Z"), 3),
        (("--actor", "somebody"), 0),
        (("--actor", issued["detail"]["login"]), 3),
        (("--limit", "1"), 1),
    ):
        assert used("audit", "list", *words, "--json").json["row_count"] == count, words
    assert used("audit", "list").out.splitlines()[0].startswith("seq\tat\tactor")
    late = used("audit", "list", "--since", "soon")
    assert (late.status, "write 2026-05-04 or" in late.err) == (2, True)


async def test_verification_names_a_changed_row_and_a_head_that_is_gone(used: Fastocsp, owner: Connection) -> None:
    """A chain that was rewritten as a whole holds in itself: only a head kept elsewhere shows it."""
    head = used("audit", "verify").fields["head"]
    assert head.startswith("3:")
    assert used("audit", "verify", "--head", head).status == 0
    other = used("audit", "verify", "--head", f"3:{'00' * 32}")
    assert (other.status, "row 3 is not the one of --head" in other.err) == (1, True)
    assert used("audit", "verify", "--head", "3").status == 2
    await owner.execute("alter table audit_events disable trigger user")
    await owner.execute("update audit_events set actor = 'nobody' where seq = 2")
    broken = used("audit", "verify", "--json")
    assert (broken.status, json.loads(broken.out)["broken_at"]) == (1, 2)


def test_export_holds_without_the_ledger(used: Fastocsp, offline: Fastocsp) -> None:
    """As long as no line is changed, left out or cut off behind a head that was kept."""
    head = used("audit", "verify").fields["head"]
    assert used("audit", "export", "--out", "audit.jsonl").status == 0
    assert used("audit", "export", "--out", "audit.jsonl").status == 1
    path = used.folder / "audit.jsonl"
    assert used("audit", "export").out == path.read_text()
    without_ledger = Fastocsp(used.folder, offline.environ)
    assert without_ledger("audit", "verify", "--export", "audit.jsonl", "--head", head).fields["head"] == head
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 3
    for name, changed, broken_at in (
        ("changed", [lines[0], lines[1].replace('"certificate"', '"certificates"'), lines[2]], "2"),
        ("left out", [lines[0], lines[2]], "2"),
        ("another order", [lines[1], lines[0], lines[2]], "1"),
    ):
        verdict = verified(without_ledger, changed)
        assert (verdict.status, verdict.fields["broken_at"]) == (1, broken_at), name
    assert verified(without_ledger, lines[:2]).status == 0
    assert verified(without_ledger, lines[:2], "--head", head).status == 1
    for garbage in ([], ["{}"], ["no JSON"], [lines[0].replace('"seq"', '"sequence"')]):
        refused = verified(without_ledger, garbage)
        assert (refused.status, len(refused.err.splitlines())) == (1, 1), garbage


def test_files_that_cannot_be_used_are_named_in_one_line(used: Fastocsp, offline: Fastocsp) -> None:
    """A file that is not text, and a folder that does not exist, which is no fault of Postgres."""
    (used.folder / "binary").write_bytes(b"\x7fELF\xc0\xff")
    binary = Fastocsp(used.folder, offline.environ)("audit", "verify", "--export", "binary")
    assert (binary.status, binary.err) == (1, "fastocsp: line 1 is no row of an audit export\n")
    for out in ("missing/audit.jsonl", "binary/audit.jsonl"):
        refused = used("audit", "export", "--out", out)
        assert (refused.status, len(refused.err.splitlines())) == (1, 1), refused.err
        assert f"{out} was not written: " in refused.err
    missing = used("reconcile", "--crl", "missing.crl")
    assert (missing.status, missing.err) == (1, "fastocsp: missing.crl: No such file or directory\n")


def verified(fastocsp: Fastocsp, lines: list[str], *words: str) -> Run:
    """How `audit verify --export` ends for these lines."""
    Path(fastocsp.folder / "changed.jsonl").write_text("".join(lines))
    return fastocsp("audit", "verify", "--export", "changed.jsonl", *words)


def test_login_without_the_right_is_told_where_the_rights_are(used: Fastocsp, database: DatabaseURLs) -> None:
    """The login of an edge may not read the audit chain."""
    refused = Fastocsp(used.folder, {**used.environ, "FASTOCSP_DATABASE_URL": database.edge})("audit", "list")
    assert (refused.status, len(refused.err.splitlines())) == (1, 1), refused.err
    assert "permission denied for " in refused.err
    assert "`fastocsp db roles` lists them" in refused.err
