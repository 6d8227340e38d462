"""Sharded CRLs: every certificate names its shard, the shards are the revoked set, and their number stays."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from _fastocsp.crl.entry_writer import shard_of
from cachewarm.ca.certificate import Issued
from cachewarm.ca.issue import Terms
from cachewarm.ca.registry import found_ca, issue_leaf, pointers_of
from cachewarm.crl.parse import ReadCRL
from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.sign_and_check import Rules
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger import issuers
from cachewarm.ledger.revocations import revoke
from responder.domain.status import CRLReason
from tests.support.judges import certtool, lint_crl, openssl
from tests.support.plant import DAY, Plant
from tests.support.revocation_lists import published, reasons, revoked

RULES = Rules(validity_s=DAY)
SHARDS = 4
VALIDATE = Path(__file__).with_name("Validate.java")


@pytest.fixture
async def sharded(plant: Plant) -> Plant:
    """Four shards, and sixteen certificates issued since; the five before name the complete CRL."""
    wish = issuers.CRLWish(shards=SHARDS)
    issuer = await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
    return replace(plant, issuer=issuer, leaves=[await _leaf(replace(plant, issuer=issuer), n) for n in range(16)])


async def _leaf(plant: Plant, number: int) -> Issued:
    key = SoftKey.generate(KeyKind.P256).public_key
    terms = Terms(pointers_of(plant.issuer))
    names = [f"s{number}.example.com"]
    return await issue_leaf(
        plant.connection, plant.issuer, plant.authority, names=names, public_key=key, terms=terms, now=plant.now()
    )


def crl_url(issued: Issued) -> str:
    """The distribution point of that certificate."""
    [point] = issued.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    [name] = point.full_name or []
    return str(name.value)


async def test_every_certificate_names_the_shard_that_it_would_be_on(sharded: Plant) -> None:
    """The CDP is the shard's URL, and the revoked certificate is on the CRL of that very URL and on no other shard."""
    for leaf in sharded.leaves[:8]:
        await revoke(sharded.connection, "ca", leaf.serial, reason=CRLReason.superseded, actor="tests")
    await regenerate(sharded.connection, sharded.issuer, None, RULES)
    found = await published(sharded.connection)
    assert set(found) == {"", "0", "1", "2", "3"}
    assert {crl.number for crl in found.values()} == {1}
    assert not found[""].has_distribution_point
    by_url = {crl.urls[0]: crl for part, crl in found.items() if part}
    for leaf in sharded.leaves:
        assert crl_url(leaf) == f"{sharded.issuer.crl_url}/{shard_of(leaf.serial, SHARDS)}"
        on = {url for url, crl in by_url.items() if leaf.serial in reasons(crl)}
        assert on == ({crl_url(leaf)} if leaf in sharded.leaves[:8] else set())
    shards = [reasons(found[str(number)]) for number in range(SHARDS)]
    assert {serial: reason for shard in shards for serial, reason in shard.items()} == reasons(found[""])
    assert reasons(found[""]) == await revoked(sharded.connection)
    for number in range(SHARDS):
        assert found[str(number)].critical == {"issuing_distribution_point"}
        assert lint_crl(found[str(number)].der) == []


async def test_number_of_shards_stays_while_certificates_name_them(sharded: Plant) -> None:
    """Refused with how many, until when and what to do; by plain SQL as well; afterwards it is allowed."""
    with pytest.raises(Refused, match=r"16 live certificates .* until 20\d\d-.*make another issuer"):
        await issuers.change_issuer(sharded.connection, "ca", crls=issuers.CRLWish(shards=8), actor="tests")
    with pytest.raises(Refused, match="keep the shards until"):
        await issuers.change_issuer(sharded.connection, "ca", crl_url="http://other.example.com/crl", actor="tests")
    same = await issuers.change_issuer(sharded.connection, "ca", crls=issuers.CRLWish(shards=SHARDS), actor="tests")
    assert same.crl_shards == SHARDS
    await sharded.connection.execute(
        "update certificates set not_after = now() - interval '1 second', not_before = now() - interval '1 day'"
    )
    none = await issuers.change_issuer(sharded.connection, "ca", crls=issuers.CRLWish(shards=0), actor="tests")
    await regenerate(sharded.connection, none, None, RULES)
    assert set(await published(sharded.connection)) == {""}


async def test_a_certificate_made_for_other_shards_is_not_entered(sharded: Plant) -> None:
    """Somebody changed their number between making and entering it: it would name a CRL that is not its own."""
    await sharded.connection.execute("delete from certificates")
    await issuers.change_issuer(sharded.connection, "ca", crls=issuers.CRLWish(shards=8), actor="tests")
    with pytest.raises(Refused, match="does not have 4 shards any more"):
        await _leaf(sharded, 99)
    assert await sharded.connection.fetchval("select count(*) from certificates") == 0


async def test_a_lost_shard_is_made_again_with_a_higher_number(sharded: Plant) -> None:
    """Rows of crl_parts may be deleted like those of crl_cache."""
    await regenerate(sharded.connection, sharded.issuer, None, RULES)
    await sharded.connection.execute("delete from crl_parts where part = '2'")
    await sharded.connection.execute("update crl_parts set crl_der = '\\x3000' where part = '3'")
    assert await regenerate(sharded.connection, sharded.issuer, None, RULES) == 2
    assert {crl.number for crl in (await published(sharded.connection)).values()} == {2}


async def test_shards_without_a_url_are_refused(plant: Plant) -> None:
    """A shard is found by its URL alone."""
    await plant.connection.execute("update issuers set crl_url = null")
    with pytest.raises(Refused, match="issuers_shards_have_a_url"):
        await issuers.change_issuer(plant.connection, "ca", crls=issuers.CRLWish(shards=2), actor="tests")


@pytest.mark.parametrize(("scope", "flag"), [("user", "only_contains_user_certs"), ("ca", "only_contains_ca_certs")])
async def test_scope_is_said_in_every_crl(plant: Plant, scope: str, flag: str) -> None:
    """User or CA certificates alone; pkilint finds nothing."""
    wish = issuers.CRLWish(delta=True, shards=2, scope=scope)
    issuer = await issuers.change_issuer(plant.connection, "ca", crls=wish, actor="tests")
    await regenerate(plant.connection, issuer, None, RULES)
    for crl in (await published(plant.connection)).values():
        assert crl.scope == (flag,)
        assert lint_crl(crl.der) == []


async def test_an_issuer_of_user_certificates_makes_no_ca(plant: Plant) -> None:
    """Its CRLs could not revoke it."""
    issuer = await issuers.change_issuer(plant.connection, "ca", crls=issuers.CRLWish(scope="user"), actor="tests")
    with pytest.raises(Refused, match="user certificates alone"):
        await found_ca(
            plant.connection,
            issuer_id="sub",
            kind=KeyKind.P256,
            subject=x509.Name.from_rfc4514_string("CN=Sub"),
            parent=issuer,
            parent_authority=plant.authority,
            base_url="http://ocsp.example.com",
            keys=plant.keys,
            passphrase=None,
            now=plant.now(),
            actor="tests",
        )


async def test_openssl_gnutls_and_java_judge_by_the_shard(sharded: Plant, tmp_path: Path) -> None:
    """By the CRL of their shard the revoked one is refused, the one beside it is not; another shard says nothing."""
    bad = sharded.leaves[0]
    good = next(leaf for leaf in sharded.leaves[1:] if crl_url(leaf) == crl_url(bad))
    await revoke(sharded.connection, "ca", bad.serial, reason=CRLReason.keyCompromise, actor="tests")
    await regenerate(sharded.connection, sharded.issuer, None, RULES)
    found = await published(sharded.connection)
    mine = shard_of(bad.serial, SHARDS)
    _write(tmp_path, sharded, {"bad": bad, "good": good}, found, {"mine": str(mine), "other": str((mine + 1) % SHARDS)})
    options = ("verify", "-crl_check", "-extended_crl", "-CAfile", tmp_path / "ca.pem")
    openssl(*options, "-CRLfile", tmp_path / "mine.pem", tmp_path / "good.pem")
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(*options, "-CRLfile", tmp_path / "mine.pem", tmp_path / "bad.pem")
    with pytest.raises(AssertionError, match=r"unable to get certificate CRL|different CRL scope"):
        openssl(*options, "-CRLfile", tmp_path / "other.pem", tmp_path / "good.pem")
    said = certtool("--verify-crl", "--load-ca-certificate", tmp_path / "ca.pem", "--infile", tmp_path / "mine.pem")
    assert "verified" in said.lower()
    assert java(tmp_path, "good", "mine") == "OK"
    assert java(tmp_path, "bad", "mine").startswith("REVOKED")
    assert java(tmp_path, "good", "other").startswith("UNDETERMINED_REVOCATION_STATUS")


def _write(
    folder: Path, plant: Plant, leaves: dict[str, Issued], crls: dict[str, ReadCRL], files: dict[str, str]
) -> None:
    (folder / "ca.pem").write_bytes(x509.load_der_x509_certificate(plant.issuer.cert_der).public_bytes(Encoding.PEM))
    for name, leaf in leaves.items():
        (folder / f"{name}.pem").write_bytes(leaf.pem)
    for name, part in files.items():
        (folder / f"{name}.pem").write_bytes(x509.load_der_x509_crl(crls[part].der).public_bytes(Encoding.PEM))


def java(folder: Path, leaf: str, *crls: str) -> str:
    """What Java's PKIX validation says of that leaf with those CRLs."""
    if shutil.which("javac") is None:
        pytest.skip("no JDK here: tests/tools.sh installs default-jdk-headless when it may")
    files = [str(folder / f"{name}.pem") for name in ("ca", leaf, *crls)]
    ran = subprocess.run(["java", VALIDATE, *files], capture_output=True, text=True, check=False, timeout=90)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
