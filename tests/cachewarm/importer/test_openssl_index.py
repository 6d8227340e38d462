"""index.txt: as `openssl ca` itself writes it, as people break it, and as nobody ever wrote it."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from cachewarm.ca.certificate import epoch
from cachewarm.crl.parse import peek_crl
from cachewarm.importer.openssl_index import (
    IndexEntry,
    IndexStatus,
    Problem,
    iter_index,
    parse_line,
    parse_revocation,
    parse_time,
)
from cachewarm.keys.soft_key import KeyKind, SoftKey
from responder.domain.serial import serial_octets
from responder.domain.status import CRLReason
from tests.support.judges import openssl

CONFIG = """
[ca]
default_ca = here
[here]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = certs
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 7
policy = any
rand_serial = yes
[any]
commonName = supplied
organizationName = optional
[req]
distinguished_name = any
"""
COMPROMISED = "20250102030405Z"
#: Common name, further options of `ca -revoke`, and what they mean.
REVOKED: dict[str, tuple[list[str], CRLReason, int | None]] = {
    "plain": ([], CRLReason.unspecified, None),
    "superseded": (["-crl_reason", "superseded"], CRLReason.superseded, None),
    "unspecified": (["-crl_reason", "unspecified"], CRLReason.unspecified, None),
    "cacompromise": (["-crl_reason", "CACompromise"], CRLReason.cACompromise, None),
    "hold": (["-crl_reason", "certificateHold"], CRLReason.certificateHold, None),
    "hold-instruction": (["-crl_hold", "holdInstructionReject"], CRLReason.certificateHold, None),
    "key-time": (["-crl_compromise", COMPROMISED], CRLReason.keyCompromise, 1735787045),
    "ca-key-time": (["-crl_CA_compromise", COMPROMISED], CRLReason.cACompromise, 1735787045),
}


@pytest.fixture(scope="module")
def openssl_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `openssl ca` has issued, revoked and expired certificates."""
    home = tmp_path_factory.mktemp("ca")
    for name, text in (("index.txt", ""), ("crlnumber", "01\n"), ("ca.cnf", CONFIG)):
        (home / name).write_text(text)
    (home / "certs").mkdir()
    SoftKey.generate(KeyKind.P256).store(home / "ca.key")
    run = ("-config", "ca.cnf")
    openssl("req", "-x509", *run, "-key", "ca.key", "-subj", "/CN=Other CA", "-out", "ca.pem", cwd=home)
    for name in (*REVOKED, "good", "tab\there"):
        _issue(home, name)
    _issue(home, "far", "-enddate", "20520101000000Z")
    _issue(home, "expired", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
    for name, (options, _, _) in REVOKED.items():
        openssl("ca", *run, "-revoke", f"{name}.pem", *options, cwd=home)
    openssl("ca", *run, "-updatedb", cwd=home)
    openssl("ca", *run, "-gencrl", "-out", "crl.pem", cwd=home)
    openssl("crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.der", cwd=home)
    return home


def entries_of(path: Path) -> list[IndexEntry]:
    """The entries of a file that has no problem."""
    with path.open("rb") as file:
        found = list(iter_index(enumerate(file, 1)))
    assert [one for one in found if isinstance(one, Problem)] == []
    return [one for one in found if isinstance(one, IndexEntry)]


def test_every_certificate_of_openssl_is_read(openssl_ca: Path) -> None:
    """Serial, end and subject are those of the certificates themselves, without a problem."""
    by_name = {entry.subject.removeprefix("/CN="): entry for entry in entries_of(openssl_ca / "index.txt")}
    assert len(by_name) == len(REVOKED) + 4
    for name, entry in by_name.items():
        file = openssl_ca / f"{name.replace(chr(92) + 'x09', chr(9))}.pem"
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        assert entry.serial == serial_octets(certificate.serial_number)
        assert entry.not_after == epoch(certificate.not_valid_after_utc)
    assert {name: entry.status for name, entry in by_name.items() if name in ("good", "far", "expired")} == {
        "good": IndexStatus.GOOD,
        "far": IndexStatus.GOOD,
        "expired": IndexStatus.EXPIRED,
    }


def test_revocations_are_those_we_asked_for(openssl_ca: Path) -> None:
    """Reasons, pseudo reasons and invalidity dates, as given on openssl's command line."""
    found = {
        entry.subject.removeprefix("/CN="): (entry.reason, entry.invalidity_date)
        for entry in entries_of(openssl_ca / "index.txt")
        if entry.status is IndexStatus.REVOKED
    }
    assert found == {name: (reason, invalidity) for name, (_, reason, invalidity) in REVOKED.items()}


def test_revocations_are_those_of_openssls_own_crl(openssl_ca: Path) -> None:
    """What openssl writes into its CRL from this file is what we read: serial, time, reason, invalidity date."""
    ours = {
        (entry.serial, entry.revoked_at, entry.reason, entry.invalidity_date)
        for entry in entries_of(openssl_ca / "index.txt")
        if entry.status is IndexStatus.REVOKED
    }
    assert ours == set(peek_crl((openssl_ca / "crl.der").read_bytes()).entries())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "1 fields"),
        ("V\t300101000000Z\t\t01\tunknown", "5 fields"),
        ("V\t300101000000Z\t\t01\tunknown\t/CN=a\tx", "7 fields"),
        ("X\t300101000000Z\t\t01\tunknown\t/CN=a", "not V, R or E"),
        ("V\t300101000000Z\t250101000000Z\t01\tunknown\t/CN=a", "there is a revocation date"),
        ("E\t300101000000Z\t250101000000Z\t01\tunknown\t/CN=a", "there is a revocation date"),
        ("R\t300101000000Z\t\t01\tunknown\t/CN=a", "no revocation date"),
        ("V\t3001010000Z\t\t01\tunknown\t/CN=a", "not a time"),
        ("V\t300231000000Z\t\t01\tunknown\t/CN=a", "day is out of range"),
        ("V\t300101000000+0100\t\t01\tunknown\t/CN=a", "not a time"),
        ("V\t٣٠٠١٠١٠٠٠٠٠٠Z\t\t01\tunknown\t/CN=a", "not a time"),
        ("V\t\t\t01\tunknown\t/CN=a", "not a time"),
        ("V\t300101000000Z\t\t\tunknown\t/CN=a", "not a serial number"),
        ("V\t300101000000Z\t\t--01\tunknown\t/CN=a", "not a serial number"),
        ("V\t300101000000Z\t\t0x01\tunknown\t/CN=a", "not a serial number"),
        ("V\t300101000000Z\t\t01 \tunknown\t/CN=a", "not a serial number"),
        ("V\t300101000000Z\t\t" + "1" * 41 + "\tunknown\t/CN=a", "at most 20 bytes"),
        ("V\t300101000000Z\t\t01\tunknown\t/CN=a\0b", "NUL"),
        ("R\t300101000000Z\t250101000000Z,\t01\tunknown\t/CN=a", "no such reason"),
        ("R\t300101000000Z\t250101000000Z,boredom\t01\tunknown\t/CN=a", "no such reason"),
        ("R\t300101000000Z\t250101000000Z,keyTime\t01\tunknown\t/CN=a", "keyTime without its argument"),
        ("R\t300101000000Z\t250101000000Z,keyTime,x\t01\tunknown\t/CN=a", "not a time"),
        ("R\t300101000000Z\t250101000000Z,holdInstruction\t01\tunknown\t/CN=a", "without its argument"),
        ("R\t300101000000Z\t250101000000Z,removeFromCRL\t01\tunknown\t/CN=a", "the hold has ended"),
    ],
)
def test_bad_line_is_a_problem_with_its_number(line: str, reason: str) -> None:
    """Each is named, with the number of the line, and the lines around it are still read."""
    good = b"V\t300101000000Z\t\t0A\tunknown\t/CN=good\n"
    first, problem, last = iter_index(enumerate([good, line.encode() + b"\n", good], 1))
    assert isinstance(first, IndexEntry)
    assert isinstance(last, IndexEntry)
    assert isinstance(problem, Problem)
    assert problem.line == 2
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("written", "octets"),
    [("A", "0a"), ("0A", "0a"), ("00ff", "ff"), ("-01", "00ff"), ("00", "00"), ("1" * 40, "11" * 20)],
)
def test_serials_of_any_length_and_case(written: str, octets: str) -> None:
    """Odd lengths, leading zeros, both cases: the magnitude is what counts."""
    entry = parse_line(f"V\t300101000000Z\t\t{written}\tunknown\t/CN=a".encode(), 1)
    assert entry.serial == bytes.fromhex(octets)


def test_comments_escaped_tabs_crlf_and_a_missing_last_newline(tmp_path: Path) -> None:
    """What openssl reads over, we read over; line numbers count every line."""
    path = tmp_path / "index.txt"
    first, second = b"V\t300101000000Z\t\t01\tunknown\t/CN=a\\\tb\r\n", b"V\t300101000000Z\t\t02\tunknown\t/CN=c"
    path.write_bytes(b"# made by hand\n" + first + second)
    assert [(entry.line, entry.subject) for entry in entries_of(path)] == [(2, "/CN=a\tb"), (3, "/CN=c")]


def test_years_of_utc_time_turn_at_fifty() -> None:
    """RFC 5280 4.1.2.5.1: 50 is 1950, 49 is 2049; four digits are what they say."""
    assert parse_time("500101000000Z") == parse_time("19500101000000Z")
    assert parse_time("491231235959Z") == parse_time("20491231235959Z") == 2524607999


PIECES = (b"V", b"R", b"\t", b"\\", b",", b"keyTime", b"250101000000Z", b"0A", b"\0", b"\xff", b"/CN=x", b"#")


@given(st.binary(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
def test_any_line_is_an_entry_or_a_problem(line: bytes) -> None:
    """Whatever stands there, nothing raises, and an entry is always complete."""
    for found in iter_index(enumerate(line.split(b"\n"), 1)):
        if isinstance(found, IndexEntry):
            assert 1 <= len(found.serial) <= 20
            assert (found.status is IndexStatus.REVOKED) == (found.revoked_at is not None) == (found.reason is not None)
        else:
            assert found.reason


@given(
    serial=st.integers(0, 2**160 - 1),
    subject=st.text(st.characters(blacklist_characters="\0\r\n\\", blacklist_categories=["Cs"]), max_size=40),
    moment=st.datetimes().filter(lambda moment: moment.year >= 1950),
    reason=st.sampled_from([each for each in CRLReason if each is not CRLReason.removeFromCRL]),
)
def test_what_is_written_is_read(serial: int, subject: str, moment: datetime.datetime, reason: CRLReason) -> None:
    """Decode(encode(x)) == x for serials, subjects with tabs, times of two and four digits, and every reason."""
    when = f"{moment:%Y%m%d%H%M%S}Z".zfill(15)
    escaped = subject.replace("\t", "\\\t")
    line = f"R\t{when}\t{when},{reason.name}\t{serial:X}\tunknown\t{escaped}\n".encode()
    entry = parse_line(line, 7)
    assert entry == IndexEntry(
        line=7,
        serial=serial_octets(serial),
        subject=subject,
        not_after=parse_time(when),
        status=IndexStatus.REVOKED,
        revoked_at=parse_time(when),
        reason=reason,
        invalidity_date=None,
    )
    assert parse_revocation(f"{when},CAkeyTime,{when}") == (parse_time(when), CRLReason.cACompromise, parse_time(when))


def _issue(home: Path, name: str, *options: str) -> None:
    openssl(
        "req", "-new", "-config", "ca.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "leaf.key", "-subj", f"/CN={name}", "-out", "leaf.csr", cwd=home,
    )  # fmt: skip
    openssl(
        "ca", "-config", "ca.cnf", "-batch", "-notext", "-in", "leaf.csr", "-out", f"{name}.pem", *options, cwd=home
    )
