"""CRLs and indexes that real CAs write: real ledger, the mirror's own import, and what is then revoked or good."""

import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import pem
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key

from cachewarm.ca.certificate import read_certificate
from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.rules import Rule
from cachewarm.crl.sign_and_check import Rules
from cachewarm.crl.verify_published import published_crls
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused
from cachewarm.importer.import_index import import_staged, stage
from cachewarm.keys.soft_key import SoftKey
from cachewarm.ledger import crls, issuers, mirrors
from cachewarm.ledger.connect import Connection, connect
from cachewarm.mirror.faults import NotMirrored
from cachewarm.mirror.fetch import Limits
from cachewarm.mirror.sync import SyncContext, SyncResult, sync
from cachewarm.mirror.verify_published import check_mirrored
from cachewarm.status.issuers import overviews, problems_of
from responder.domain.crl_window import CRLWindow
from responder.feed.catalog import read_issuers
from tests.support.foreign_ca import ForeignCA

INPUTS = Path(__file__).parents[1] / "vectors" / "inputs"
LIMITS = Limits(1 << 20, 2.0, 5.0)
FIVE, SIX, SEVEN, EIGHT = (bytes((number,)) for number in (5, 6, 7, 8))


@dataclass
class Issuer:
    """An issuer of one folder of inputs, with a file as its source."""

    connection: Connection
    folder: Path
    source: Path

    async def row(self) -> issuers.Issuer:
        return await issuers.require_issuer(self.connection, "input")

    async def feed(self, name: str, *, renumbered_by: str | None = None) -> SyncResult:
        """The source has that file now, and is looked at."""
        shutil.copyfile(self.folder / name, self.source)
        context = SyncContext(self.connection, LIMITS)
        result = await sync(context, await self.row(), renumbered_by=renumbered_by)
        assert result is not None
        return result

    async def refusal(self, name: str) -> NotMirrored:
        """Why that file is not taken; the failure is recorded, with its word."""
        with pytest.raises(NotMirrored) as refused:
            await self.feed(name)
        (event, *_) = await crls.crl_builds(self.connection, "input")
        assert (event.succeeded, event.kind, event.fault) == (False, "mirror", refused.value.fault.value)
        return refused.value

    async def revoked(self) -> dict[bytes, int]:
        """Serial to reason."""
        rows = await self.connection.fetch("select serial_number, reason from certificate_revocations")
        return {row["serial_number"]: row["reason"] for row in rows}

    async def mirror(self) -> mirrors.Mirror:
        (found,) = await mirrors.mirrors(self.connection, "input")
        return found


@pytest.fixture
async def connection(database: DatabaseURLs) -> AsyncIterator[Connection]:
    """Of a writer, to an empty ledger."""
    found = await connect(database.cli)
    yield found
    await found.close()


async def issuer_of(
    connection: Connection, folder: Path, tmp_path: Path, *, cert: str = "ca.pem", has_source: bool = True
) -> Issuer:
    """The CA of that folder, registered."""
    source = tmp_path / "source"
    _, _, cert_der = pem.unarmor((folder / cert).read_bytes())
    await issuers.add_issuer(
        connection,
        "input",
        subject=f"CN={folder.name}",
        cert_der=cert_der,
        crls=issuers.CRLWish(source=source.as_uri()) if has_source else issuers.ONLY_COMPLETE,
        actor="tests",
    )
    return Issuer(connection, folder, source)


@pytest.mark.parametrize(
    ("folder", "name", "rules"),
    [
        ("crl-version", "version-altered.crl", {Rule.FORM}),
        ("crl-version", "version-signed.crl", {Rule.FORM}),
        ("crl-issuer-name", "name-altered.crl", {Rule.FORM, Rule.ISSUER}),
    ],
)
async def test_a_crl_that_breaks_a_parser_is_refused_first_and_later(
    connection: Connection, tmp_path: Path, folder: str, name: str, rules: set[Rule]
) -> None:
    """As the first CRL of an issuer, and as the successor of a good one, which stays; then the next one is taken."""
    issuer = await issuer_of(connection, INPUTS / folder, tmp_path)
    assert (await issuer.refusal(name)).fault in rules
    await issuer.feed("good.crl")
    assert (await issuer.refusal(name)).fault in rules
    assert set(await issuer.revoked()) == {FIVE}
    await issuer.feed("next.crl")
    assert set(await issuer.revoked()) == {FIVE, SIX}


async def test_a_hold_and_a_revocation_of_one_serial_is_a_revocation(connection: Connection, tmp_path: Path) -> None:
    """Whatever the order; and when both are gone from the next CRL, only the hold of the other one is lifted."""
    issuer = await issuer_of(connection, INPUTS / "hold-and-final", tmp_path)
    await issuer.feed("first.crl")
    assert await issuer.revoked() == {FIVE: 1, SIX: 6}
    at = await connection.fetchval("select revoked_at from certificate_revocations where serial_number = $1", FIVE)
    assert at.date().isoformat() == "2024-01-08"
    await issuer.feed("next.crl")
    assert await issuer.revoked() == {FIVE: 1}


async def test_an_invalidity_date_in_9999_is_left_out(connection: Connection, tmp_path: Path) -> None:
    """The CRL is taken, the other dates are kept, and the event says what was left out."""
    issuer = await issuer_of(connection, INPUTS / "invalidity-9999", tmp_path)
    await issuer.feed("ca.crl")
    rows = await connection.fetch("select serial_number, invalidity_date from certificate_revocations")
    dates = {row["serial_number"]: row["invalidity_date"] for row in rows}
    assert (dates[FIVE], dates[SEVEN]) == (None, None)
    assert dates[SIX].date().isoformat() == "2023-12-24"
    (event, *_) = await crls.crl_builds(connection, "input")
    assert (event.succeeded, event.remarks) == (True, "invalidity dates out of range, left out: 1")


async def test_a_serial_of_21_bytes_is_skipped_and_shown(connection: Connection, tmp_path: Path) -> None:
    """The other entries are taken; the event, `issuer show` and `status` count it."""
    issuer = await issuer_of(connection, INPUTS / "long-serial", tmp_path)
    await issuer.feed("ca.crl")
    assert await issuer.revoked() == {FIVE: 1, SIX: 4}
    assert (await issuer.mirror()).skipped == 1
    (seen,) = await overviews(connection)
    found = problems_of(seen, datetime.now(UTC), ready_coverage=0.5, grace=timedelta(days=1))
    assert any("entries skipped, serial number over 20 bytes: 1" in each for each in found)


async def test_forms_of_a_crl_follow_one_another(connection: Connection, tmp_path: Path) -> None:
    """v1 is refused with the hint; a critical key identifier, text before PEM, and two CRLs in one file are taken."""
    issuer = await issuer_of(connection, INPUTS / "crl-forms", tmp_path)
    await issuer.feed("good.crl")
    refused = await issuer.refusal("v1.crl")
    assert refused.fault is Rule.FORM
    assert "v1 CRL" in str(refused)
    assert "openssl ca" in str(refused)
    for name, number, serials in (
        ("aki-critical.crl", 3, {FIVE}),
        ("text-before.pem", 4, {FIVE, SEVEN}),
        ("two-in-one.pem", 5, {FIVE, EIGHT}),
    ):
        assert (await issuer.feed(name)).crl_number == number
        assert set(await issuer.revoked()) >= serials


async def _import_index(connection: Connection, issuer: Issuer, index: Path) -> None:
    with index.open("rb") as file:
        staged = await stage(connection, file, progress=lambda _: None)
    await import_staged(connection, await issuer.row(), staged, actor="tests", progress=lambda _: None)


async def test_a_switch_to_crls_without_a_number_takes_effect_with_the_first_one(
    connection: Connection, database: DatabaseURLs, tmp_path: Path
) -> None:
    """A valid certificate keeps its status while the first CRL is refused; with the option CRLs go by thisUpdate."""
    folder = INPUTS / "no-number"
    issuer = await issuer_of(connection, folder, tmp_path, cert="ca.crt", has_source=False)
    await _import_index(connection, issuer, folder / "index.txt")
    wish = issuers.CRLWish(source=issuer.source.as_uri())
    await issuers.change_issuer(connection, "input", crls=wish, actor="tests")
    refused = await issuer.refusal("crl.pem")
    assert refused.fault is Rule.NUMBER
    assert "--accept-unnumbered" in str(refused)
    assert (await issuer.mirror()).is_waiting
    assert await _windows(database) is None
    await issuers.change_issuer(connection, "input", crls=issuers.CRLWish(unnumbered=True), actor="tests")
    await issuer.feed("crl.pem")
    assert not (await issuer.mirror()).is_waiting
    assert len(await _windows(database) or ()) == 1
    clients = [read_certificate((folder / f"client{n}.crt").read_bytes()).serial_number for n in (1, 2)]
    assert {int.from_bytes(serial) for serial in await issuer.revoked()} == {clients[0]}
    await issuer.feed("next.pem")
    assert {int.from_bytes(serial) for serial in await issuer.revoked()} == set(clients)
    assert (await issuer.refusal("crl.pem")).fault is Rule.WINDOW


async def _windows(database: DatabaseURLs) -> tuple[CRLWindow, ...] | None:
    """What an edge takes `good` from: None for the inventory alone."""
    reader = await connect(database.signer, check=False)
    try:
        (found,) = await read_issuers(reader)
    finally:
        await reader.close()
    return found.windows


async def test_a_ca_without_crl_sign_has_no_crl(connection: Connection, tmp_path: Path) -> None:
    """Neither is one made here, although its key is here, nor is one mirrored; the reason is in the events."""
    folder = INPUTS / "ca-without-crlsign"
    issuer = await issuer_of(connection, folder, tmp_path)
    assert (await issuer.refusal("ca.crl")).fault is Rule.KEY_USAGE
    assert await issuer.revoked() == {}
    key = tmp_path / "ca.key"
    SoftKey(load_der_private_key(bytes.fromhex((folder / "ca.key.hex").read_text()), None)).store(key)
    await connection.execute("update issuers set crl_source = null, key_path = $1", str(key))
    with pytest.raises(Refused, match="cRLSign"):
        await regenerate(connection, await issuer.row(), None, Rules(validity_s=3600))
    (event, *_) = await crls.crl_builds(connection, "input")
    assert (event.succeeded, event.kind) == (False, "complete")
    assert "key usage" in (event.error or "")
    assert await crls.read_crl(connection, "input") is None


async def test_a_ca_with_an_ampersand_in_its_name_is_mirrored(connection: Connection, tmp_path: Path) -> None:
    """Names are compared as bytes: `cryptography` parses neither its certificate nor its CRL."""
    issuer = await issuer_of(connection, INPUTS / "ampersand-name", tmp_path)
    await issuer.feed("ca.crl")
    assert set(await issuer.revoked()) == {FIVE}
    (one,) = await published_crls(connection, "input")
    assert check_mirrored(await issuer.row(), one, int(time.time())) is None


async def test_times_slightly_ahead_are_taken_at_once(connection: Connection, tmp_path: Path) -> None:
    """In a CRL and in an index.txt: the file is taken, and its certificates are revoked now."""
    ca = ForeignCA()
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=55)
    (tmp_path / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "ahead.crl").write_bytes(ca.crl(1, {5: x509.ReasonFlags.key_compromise}, begins=55, revoked_at=ahead))
    later = ahead + timedelta(hours=1)
    line = f"R\t450101000000Z\t{later:%y%m%d%H%M%SZ},keyCompromise\t18\tunknown\t/CN=x\n"
    (tmp_path / "index.txt").write_text(line, encoding="ascii")
    issuer = await issuer_of(connection, tmp_path, tmp_path)
    await issuer.feed("ahead.crl")
    assert await connection.fetchval("select revoked_at <= now() from certificate_revocations")
    assert await connection.fetchval("select good_from <= now() from crl_mirrors")
    await _import_index(connection, issuer, tmp_path / "index.txt")
    assert await issuer.revoked() == {FIVE: 1, b"\x18": 1}
