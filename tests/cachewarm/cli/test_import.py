"""`fastocsp import openssl`: all of an index.txt or nothing, and again as often as one likes."""

from datetime import UTC, datetime

import pytest

from cachewarm.ledger.connect import Connection
from tests.cachewarm.cli.conftest import Fastocsp, Run

GOOD = "V\t{ends}\t\t{serial}\tunknown\t/CN=h\n"
REVOKED = "R\t{ends}\t{when}\t{serial}\tunknown\t/CN=h\n"
EXPIRED = "E\t250101000000Z\t\t{serial}\tunknown\t/CN=h\n"
ENDS = "400101000000Z"


def good(serial: str) -> str:
    """A valid certificate's line."""
    return GOOD.format(ends="20" + ENDS, serial=serial)


def revoked(serial: str, when: str = "250601000000Z,keyCompromise", ends: str = ENDS) -> str:
    """A revoked certificate's line."""
    return REVOKED.format(ends=ends, when=when, serial=serial)


def take(fastocsp: Fastocsp, *lines: str, words: tuple[str, ...] = ("--json",)) -> Run:
    """Import those lines for issuer root."""
    (fastocsp.folder / "index.txt").write_text("".join(lines))
    return fastocsp("import", "openssl", "index.txt", "--issuer", "root", *words)


async def test_every_kind_of_line(root_ca: Fastocsp, writer: Connection) -> None:
    """Good, revoked with reason and invalidity date, expired, expired and revoked."""
    lines = (
        good("01"),
        revoked("0A02"),
        revoked("03", "250601000000Z,keyTime,20250501000000Z"),
        EXPIRED.format(serial="04"),
        revoked("05", "240601000000Z", ends="250101000000Z"),
    )
    said = take(root_ca, *lines).json
    counted = {name: said[name] for name in ("good", "revoked", "expired", "new_certificates", "changed_revocations")}
    assert counted == {"good": 1, "revoked": 3, "expired": 1, "new_certificates": 5, "changed_revocations": 3}
    rows = await writer.fetch(
        "select encode(serial_number, 'hex') s, reason, invalidity_date from certificate_revocations order by 1"
    )
    assert [tuple(row) for row in rows] == [
        ("03", 1, datetime(2025, 5, 1, tzinfo=UTC)),
        ("05", 0, None),
        ("0a02", 1, None),
    ]
    row = await writer.fetchrow("select status, not_after from certificates where serial_number = '\\x05'")
    assert tuple(row or ()) == ("revoked", datetime(2025, 1, 1, tzinfo=UTC))


async def test_one_bad_line_imports_nothing(root_ca: Fastocsp, writer: Connection) -> None:
    """Each is reported by its number, fifty at most, and how many there are."""
    said = take(root_ca, good("01"), "nonsense\n" * 60, revoked("02", "400101000000Z"))
    assert (said.status, said.out) == (1, "")
    assert "index.txt:2: " in said.err
    assert "index.txt:51: " in said.err
    assert "index.txt:52: " not in said.err
    assert "and 11 more" in said.err
    assert "61 lines" in said.err
    assert await writer.fetchval("select count(*) from certificates") == 0


async def test_a_repeat_takes_what_is_new(root_ca: Fastocsp, writer: Connection) -> None:
    """And only that: nothing is un-revoked, whatever the file says now; a hold that ended is named with its release."""
    take(root_ca, good("01"), revoked("02"), revoked("03", "250601000000Z,certificateHold"))
    again = take(root_ca, good("01"), revoked("02"), revoked("03", "250601000000Z,certificateHold")).json
    assert (again["new_certificates"], again["changed_revocations"]) == (0, 0)
    later = take(root_ca, revoked("01"), good("02"), good("03"), good("04"))
    assert (later.json["new_certificates"], later.json["changed_revocations"]) == (1, 1)
    assert later.json["still_revoked"] == ["02", "03"]
    assert "02 is valid in the file and stays revoked here (keyCompromise)\n" in later.err
    assert "fastocsp unhold --serial 03 --issuer root" in later.err
    assert await writer.fetchval("select count(*) from certificate_revocations") == 3


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("import", "openssl", "missing.txt", "--issuer", "root"), "INDEX.TXT"),
        (("import", "openssl", "empty.txt"), "--issuer"),
    ],
    ids=str,
)
def test_usage_errors_name_the_option(root_ca: Fastocsp, words: tuple[str, ...], option: str) -> None:
    """Exit status 2."""
    (root_ca.folder / "empty.txt").touch()
    said = root_ca(*words)
    assert said.status == 2
    assert option in said.err


def test_an_unknown_issuer_is_refused(root_ca: Fastocsp) -> None:
    """With the ids that there are."""
    (root_ca.folder / "index.txt").write_text(good("01"))
    said = root_ca("import", "openssl", "index.txt", "--issuer", "other")
    assert (said.status, "root" in said.err) == (1, True)


async def test_a_hundred_thousand_lines_are_one_transaction(root_ca: Fastocsp, writer: Connection) -> None:
    """In one transaction; a tenth of them revoked."""
    lines = [revoked(f"40{n:06X}") if n % 10 == 0 else good(f"40{n:06X}") for n in range(100_000)]
    said = take(root_ca, *lines)
    assert said.status == 0, said.err
    assert said.json["changed_revocations"] == 10_000
    assert await writer.fetchval("select count(distinct xmin::text) from certificate_revocations") == 1
