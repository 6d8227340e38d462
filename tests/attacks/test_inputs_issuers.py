"""Files that CAs and operators really produce, about issuers and their responders (tests/vectors/inputs)."""

import asyncio
import base64
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import parser, pem
from asn1crypto import x509 as asn1
from structlog.testing import capture_logs

from cachewarm.ca.authority import init_root
from cachewarm.ca.certificate import parse_subject
from cachewarm.keys.soft_key import SoftKey
from cachewarm.ledger import issuers, revocations
from cachewarm.ledger.connect import Connection
from cachewarm.records.keyring import load_keyring
from cachewarm.warmer.responder_rotation import rotate_due
from responder.domain.catalog import Catalog, CRLEntry
from responder.domain.odd_names import names_of
from responder.domain.status import CRLReason
from responder.feed.catalog import read_ledger
from responder.feed.crl_files import CRLFiles
from tests.cachewarm.cli.conftest import Fastocsp, fastocsp, offline, openssl, writer

__all__ = ["fastocsp", "offline", "openssl", "writer"]
INPUTS = Path(__file__).parents[1] / "vectors" / "inputs"
RESPONDER = ("--responder-cert", "responder.pem", "--responder-key", "responder.key")


def unpack(kind: str, folder: Path) -> None:
    """Copy the inputs of that kind; `x.key.hex` becomes `x.key`, PEM, mode 0600."""
    shutil.copytree(INPUTS / kind, folder, dirs_exist_ok=True)
    for packed in folder.glob("*.key.hex"):
        body = "\n".join(textwrap.wrap(base64.b64encode(bytes.fromhex(packed.read_text())).decode(), 64))
        label = "PRIVATE" + " KEY"
        key = packed.with_suffix("")
        key.touch(0o600)
        key.write_text(f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")


async def test_a_renewed_ca_certificate_changes_no_answer(fastocsp: Fastocsp, writer: Connection) -> None:
    """It is refused as another issuer, with the command that adds it; then it is the one that is served."""
    unpack("same-ca-twice", fastocsp.folder)
    assert fastocsp("issuer", "add", "--id", "a", "--cert", "old.pem", *RESPONDER).status == 0
    assert fastocsp("import", "openssl", "index.txt", "--issuer", "a").status == 0
    again = fastocsp("issuer", "add", "--id", "b", "--cert", "renewed.pem", *RESPONDER, "--unissued", "good")
    assert again.status == 1
    assert "fastocsp issuer add-cert a --cert FILE" in again.err
    before = (await issuers.list_issuers(writer))[0]
    for _ in range(2):
        added = fastocsp("issuer", "add-cert", "a", "--cert", "renewed.pem", "--json")
        assert added.status == 0, added.err
        assert (added.json["certificates"], added.json["serving"]) == (2, True)
    (issuer,) = await issuers.list_issuers(writer)
    assert issuer.issuer_no == before.issuer_no
    assert issuer.cert_der != before.cert_der
    revoked = await writer.fetch("select issuer_id, serial_number from certificate_revocations")
    assert [tuple(row) for row in revoked] == [("a", b"\x10\x02")]
    same = fastocsp("issuer", "add", "--id", "a", "--cert", "renewed.pem", *RESPONDER, "--json")
    assert same.json["responder"] == "the same"


async def test_a_renewed_ca_certificate_makes_no_second_crl(fastocsp: Fastocsp, writer: Connection) -> None:
    """With the CA's key too there is one issuer, so one series of CRL numbers."""
    unpack("same-ca-twice", fastocsp.folder)
    assert fastocsp("issuer", "add", "--id", "a", "--cert", "old.pem", "--key", "ca.key").status == 0
    assert fastocsp("issuer", "add", "--id", "b", "--cert", "renewed.pem", "--key", "ca.key").status == 1
    assert await writer.fetchval("select count(*) from issuers") == 1


def test_a_responder_key_for_pss_alone_is_refused(fastocsp: Fastocsp) -> None:
    """It would sign PKCS#1 v1.5, which every client rejects (RFC 4055 1.2)."""
    unpack("pss-responder", fastocsp.folder)
    added = fastocsp("issuer", "add", "--cert", "ca.pem", *RESPONDER, "--unissued", "good")
    assert added.status == 2
    assert "RSASSA-PSS" in added.err
    assert not [name for name in fastocsp.files() if "ocsp-responder" in name]


def test_a_ca_key_for_pss_alone_is_refused(fastocsp: Fastocsp) -> None:
    """By the certificate's SPKI, and by the key file itself."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa-pss",
        "-nodes",
        "-keyout",
        "pss.key",
        "-out",
        "pss.pem",
        "-days",
        "9",
        "-subj",
        "/CN=PSS",
    ]
    subprocess.run(command, cwd=fastocsp.folder, check=True, capture_output=True)
    (fastocsp.folder / "pss.key").chmod(0o600)
    added = fastocsp("issuer", "add", "--cert", "pss.pem", "--key", "pss.key")
    assert added.status == 2
    assert "RSASSA-PSS" in added.err


@pytest.mark.parametrize(("options", "status"), [(("--crl",), 1), ((), 0), (("--no-crl",), 0)])
async def test_a_ca_without_crl_sign_has_no_crl(
    fastocsp: Fastocsp, writer: Connection, options: tuple[str, ...], status: int
) -> None:
    """Asked for, it is refused; else the issuer is added without one, and the command says so."""
    unpack("ca-without-crlsign", fastocsp.folder)
    added = fastocsp("issuer", "add", "--id", "x", "--cert", "ca.pem", "--key", "ca.key", *options)
    assert added.status == status
    assert "cRLSign" in added.err
    assert await writer.fetchval("select count(*) from issuers where publishes_crl") == 0
    assert await writer.fetchval("select count(*) from issuers") == 1 - status


def test_the_mirror_of_a_ca_without_crl_sign_is_refused(fastocsp: Fastocsp) -> None:
    """RFC 5280 6.3.3 (f): no verifier takes that CRL."""
    unpack("ca-without-crlsign", fastocsp.folder)
    source = f"file://{fastocsp.folder / 'ca.crl'}"
    added = fastocsp("issuer", "add", "--cert", "ca.pem", *RESPONDER, "--crl-source", source)
    assert added.status == 1
    assert "cRLSign" in added.err


async def test_crl_of_a_ca_without_crl_sign_that_was_published_before_is_withdrawn(
    fastocsp: Fastocsp, writer: Connection
) -> None:
    """An older version let it in: the edge serves it no longer, and names the issuer."""
    unpack("ca-without-crlsign", fastocsp.folder)
    assert fastocsp("issuer", "add", "--id", "x", "--cert", "ca.pem", "--key", "ca.key").status == 0
    await writer.execute("update issuers set publishes_crl = true")
    der = (fastocsp.folder / "ca.crl").read_bytes()
    await writer.execute(
        "insert into crl_cache (issuer_id, crl_number, crl_der, this_update, next_update, revoked_count)"
        " values ('x', 1, $1, now(), now() + interval '1 day', 1)",
        der,
    )
    former = CRLEntry(1, 0, 1 << 32, "x-1-00.crl", "00", len(der), 0)
    with capture_logs() as lines:
        files = CRLFiles(fastocsp.folder)
        for _ in range(2):
            catalog = await read_ledger(writer, files, Catalog(crls={"x": former}))
    assert (catalog.crls, catalog.issuer_faults["x"]) == ({}, ["crl"])
    assert [line["event"] for line in lines] == ["CRLs withdrawn"]


async def test_an_index_with_a_time_ahead_is_revoked_now(fastocsp: Fastocsp, writer: Connection) -> None:
    """Clocks of CAs differ by seconds; the stated time is kept beside."""
    unpack("same-ca-twice", fastocsp.folder)
    ahead = datetime.now(UTC) + timedelta(seconds=50)
    line = f"R\t350101000000Z\t{ahead:%y%m%d%H%M%SZ},keyCompromise\t18\tunknown\t/CN=ahead\n"
    (fastocsp.folder / "index.txt").write_text(line)
    assert fastocsp("issuer", "add", "--id", "x", "--cert", "old.pem", *RESPONDER).status == 0
    imported = fastocsp("import", "openssl", "index.txt", "--issuer", "x")
    assert imported.status == 0, imported.err
    row = await writer.fetchrow("select revoked_at <= now() as past, stated_time from certificate_revocations")
    assert row is not None
    assert (row["past"], row["stated_time"]) == (True, ahead.replace(microsecond=0))


@pytest.mark.parametrize("date", ["9999-12-31T23:59:59Z", "0001-01-01", "1970-01-01", "0001-01-01T00:00:00+14:00"])
def test_an_invalidity_date_out_of_range_is_named_by_its_option(offline: Fastocsp, date: str) -> None:
    """One sentence with the option and its range, before any database is asked."""
    done = offline("revoke", "--serial", "01", "--invalidity-date", date)
    assert done.status == 2
    assert "--invalidity-date" in done.err
    assert "1970-01-01" in done.err


def test_a_validity_beyond_the_year_9999_is_named_by_its_option(offline: Fastocsp) -> None:
    """NotAfter has four digits for the year."""
    done = offline("ca", "init", "--id", "x", "--subject", "CN=X", "--validity", "9000y")
    assert done.status == 2
    assert "--validity" in done.err


@pytest.mark.parametrize("old", ["Example A & B", "Bücher"])
def test_a_name_that_openssl_reads_is_taken_byte_for_byte(
    fastocsp: Fastocsp, openssl: Callable[..., str], old: str
) -> None:
    """`&` in a PrintableString, Latin-1 in a TeletexString: certificates below it carry the name as it is."""
    unpack("ampersand-name", fastocsp.folder)
    if old != "Example A & B":
        with_latin_name(fastocsp.folder, old)
    added = fastocsp("issuer", "add", "--id", "x", "--cert", "ca.pem", "--key", "ca.key", "--json")
    assert added.status == 0, added.err
    issued = fastocsp("ca", "issue", "x", "--name", "www.example.com")
    assert issued.status == 0, issued.err
    ca = unarmor(fastocsp.folder / "ca.pem")
    assert names_of(unarmor(fastocsp.folder / "www.example.com.pem"))[0] == names_of(ca)[1]
    assert openssl("verify -CAfile ca.pem www.example.com.pem") == "www.example.com.pem: OK\n"
    assert fastocsp("ca", "show", "x").fields["subject"]
    assert unarmor_text(fastocsp("ca", "show", "x", "--pem").out) == ca


async def test_responders_and_crls_below_such_a_name(fastocsp: Fastocsp, writer: Connection) -> None:
    """Both carry the CA's bytes; the keyring takes the pair; openssl verifies the CRL."""
    unpack("ampersand-name", fastocsp.folder)
    assert fastocsp("issuer", "add", "--id", "x", "--cert", "ca.pem", "--key", "ca.key").status == 0
    keys, now = fastocsp.folder / "keys", int(datetime.now(UTC).timestamp())
    done = await rotate_due(writer, keys, None, now=now, validity_s=86400, grace_s=60)
    assert (done.made, done.faults) == (["x"], {})
    name = names_of(unarmor(fastocsp.folder / "ca.pem"))[1]
    cert_der = await writer.fetchval("select cert_der from ocsp_responder_certs")
    assert names_of(cert_der)[0] == name
    ring = await load_keyring(writer, keys, None, now)
    assert [each.issuer.subject_der for each in ring.signing.values()] == [name]
    generated = fastocsp("crl", "generate", "x")
    assert generated.status == 0, generated.err
    der = await writer.fetchval("select crl_der from crl_cache")
    assert name in der
    [issuer] = ring.issuers.values()
    kept = CRLFiles(fastocsp.folder)._keep(der, issuer, "x", 1)
    assert kept is not None, "the edge refuses it"
    assert CRLFiles(fastocsp.folder)._keep(der[:-1] + bytes((der[-1] ^ 1,)), issuer, "x", 2) is None
    (fastocsp.folder / "crl").write_bytes(der)
    verify = ["openssl", "crl", "-inform", "DER", "-in", "crl", "-CAfile", "ca.pem", "-noout"]
    verified = await asyncio.to_thread(subprocess.run, verify, cwd=fastocsp.folder, capture_output=True, check=True)
    assert b"verify OK" in verified.stderr


def test_the_responder_of_such_a_ca_is_accepted(fastocsp: Fastocsp) -> None:
    """Its issuer has the character too, and its signature is verified over the original bytes."""
    unpack("ampersand-name", fastocsp.folder)
    added = fastocsp("issuer", "add", "--id", "x", "--cert", "ca.pem", *RESPONDER)
    assert added.status == 0, added.err
    other = fastocsp.folder / "other"
    unpack("same-ca-twice", other)
    pair = ("--responder-cert", "other/responder.pem", "--responder-key", "other/responder.key")
    foreign = fastocsp("issuer", "add", "--id", "y", "--cert", "ca.pem", *pair)
    assert foreign.status == 2
    assert "not issued directly by" in foreign.err


def unarmor(path: Path) -> bytes:
    """The DER of a PEM file."""
    return unarmor_text(path.read_text())


def unarmor_text(text: str) -> bytes:
    """The DER of a PEM text."""
    return bytes(pem.unarmor(text.encode())[2])


def with_latin_name(folder: Path, text: str) -> None:
    """Make ca.pem a self-signed certificate whose organization is that text in Latin-1, as a TeletexString."""
    key = SoftKey.load(folder / "ca.key")
    made = init_root(key, parse_subject(f"CN=Latin,O={text}"), now=int(datetime.now(UTC).timestamp())).cert_der
    wrong = b"\x0c" + bytes((len(text.encode()),)) + text.encode()
    right = b"\x14" + bytes((len(text.encode("latin-1")),)) + text.encode("latin-1")
    certificate = asn1.Certificate.load(made)
    tbs = certificate["tbs_certificate"]
    for field in ("issuer", "subject"):
        heads = [b"\x31" + bytes((len(each) + 7,)) + b"\x30" + bytes((len(each) + 5,)) for each in (wrong, right)]
        inner = tbs[field].chosen.contents.replace(wrong, right).replace(*heads)
        tbs[field] = asn1.Name.load(parser.emit(0, 1, 16, inner))
    der = tbs.dump()
    signature = parser.emit(0, 0, 3, b"\0" + key.sign(der))
    whole = parser.emit(0, 1, 16, der + certificate["signature_algorithm"].dump() + signature)
    (folder / "ca.pem").write_bytes(pem.armor("CERTIFICATE", whole))


async def test_a_reason_becomes_key_compromise_and_the_command_says_what_stays(
    fastocsp: Fastocsp, writer: Connection
) -> None:
    """Superseded -> keyCompromise with an earlier date; back again changes nothing, and a sentence says so."""
    unpack("same-ca-twice", fastocsp.folder)
    assert fastocsp("issuer", "add", "--id", "a", "--cert", "old.pem", *RESPONDER).status == 0
    assert fastocsp("import", "openssl", "index.txt", "--issuer", "a").status == 0
    revoke = ("revoke", "--serial", "1001", "--issuer", "a", "--json")
    assert fastocsp(*revoke, "--reason", "superseded").json["changed"]
    changed = fastocsp(*revoke, "--reason", "keyCompromise", "--invalidity-date", "2025-01-01").json
    assert (changed["changed"], changed["reason"], changed["remark"]) == (True, "keyCompromise", None)
    assert changed["invalidity_date"].startswith("2025-01-01")
    kept = fastocsp(*revoke, "--reason", "superseded")
    assert (kept.status, kept.json["changed"], kept.json["reason"]) == (0, False, "keyCompromise")
    assert "only keyCompromise replaces" in kept.err
    assert (await revocations.revoke(writer, "a", b"\x10\x01", actor="t")).reason is CRLReason.keyCompromise
