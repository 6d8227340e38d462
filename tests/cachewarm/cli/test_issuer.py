"""`fastocsp issuer`: a CA made by openssl, its responder, its replacement."""

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from cachewarm.keys.soft_key import SoftKey
from cachewarm.ledger.connect import Connection
from tests.cachewarm.cli.conftest import Fastocsp, openssl_in

ADD = ("issuer", "add", "--cert", "ca.pem", "--responder-cert", "r.pem", "--responder-key", "r.key")
EXTENSIONS = "keyUsage=critical,digitalSignature\nextendedKeyUsage=OCSPSigning\nnoCheck=ignored\n"
STORED = "data/keys/ocsp-responder-plain-ca.key"


@pytest.fixture(scope="module")
def plain_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, ca.key, and a responder r.pem with r.key; not to be changed."""
    folder = tmp_path_factory.mktemp("plain")
    openssl = openssl_in(folder)
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 100 -subj", "/CN=Plain CA")
    responder(folder, openssl, "r", EXTENSIONS)
    return folder


@pytest.fixture
def plain(fastocsp: Fastocsp, plain_files: Path) -> Fastocsp:
    """ca.pem with ca.key, and a responder r.pem with r.key."""
    shutil.copytree(plain_files, fastocsp.folder, dirs_exist_ok=True)
    return fastocsp


def responder(folder: Path, openssl: Callable[..., str], name: str, extensions: str) -> None:
    """A responder certificate NAME.pem with NAME.key."""
    (folder / "ext").write_text(extensions)
    openssl(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj", "/CN=Responder")
    openssl(f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -out {name}.pem -days 30 -extfile ext")


async def test_an_issuer_with_its_responder(plain: Fastocsp, writer: Connection) -> None:
    """Named after the CA, without CRLs as the CA's key is not here; the responder key is kept for us alone."""
    added = plain(*ADD, "--json")
    assert added.status == 0, added.err
    said = added.json
    assert (said["issuer_id"], said["responder_mode"], said["publishes_crl"]) == ("plain-ca", "external", False)
    kept = plain.folder / STORED
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert SoftKey.load(kept).public_key == SoftKey.load(plain.folder / "r.key").public_key
    assert await writer.fetchval("select key_path from ocsp_responder_certs") == str(kept)
    shown = plain("issuer", "show", "plain-ca").fields
    assert shown["responder_subject"] == "CN=Responder"
    assert plain("issuer", "list", "--json").json["row_count"] == 1


async def test_a_second_responder_replaces_the_first(
    plain: Fastocsp, writer: Connection, openssl: Callable[..., str]
) -> None:
    """And says so; repeating the command changes nothing; going back is possible."""
    assert plain(*ADD).status == 0
    assert plain(*ADD, "--json").json["responder"] == "the same"
    responder(plain.folder, openssl, "s", EXTENSIONS)
    replaced = plain("issuer", "add", "--cert", "ca.pem", "--responder-cert", "s.pem", "--responder-key", "s.key")
    assert replaced.fields["responder"] == "replaced"
    assert "there already" in replaced.err
    assert SoftKey.load(plain.folder / STORED).public_key == SoftKey.load(plain.folder / "s.key").public_key
    assert plain(*ADD, "--json").json["responder"] == "replaced"
    assert await writer.fetchval("select count(*) from ocsp_responder_certs") == 2
    assert await writer.fetchval("select count(*) from issuers") == 1


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("--responder-cert", {"--responder-cert": "plain.pem"}),
        ("--responder-cert", {"--responder-cert": "ca.key"}),
        ("--responder-cert", {"--responder-key": "ca.key"}),
        ("--responder-key", {"--responder-key": "r.pem"}),
        ("--responder-key", {"--responder-key": "missing"}),
        ("--cert", {"--cert": "r.pem"}),
        ("--id", {"--id": "Not Good"}),
        ("--ocsp-url", {"--ocsp-url": "https://x.example"}),
        ("--key", {"--key": "r.key"}),
    ],
    ids=str,
)
async def test_what_clients_would_reject_is_refused_by_option(
    plain: Fastocsp, writer: Connection, openssl: Callable[..., str], option: str, change: dict[str, str]
) -> None:
    """Exit status 2, no row, no key."""
    responder(plain.folder, openssl, "plain", "basicConstraints=CA:FALSE\n")
    words = dict(zip(ADD[2::2], ADD[3::2], strict=True)) | change
    said = plain("issuer", "add", *(word for pair in words.items() for word in pair))
    assert said.status == 2
    assert option in said.err
    assert not (plain.folder / "data").exists()
    assert await writer.fetchval("select count(*) from issuers") == 0


async def test_a_foreign_key_in_the_way_is_never_overwritten(plain: Fastocsp, writer: Connection) -> None:
    """Refused, and the row is not there either."""
    path = plain.folder / STORED
    path.parent.mkdir(parents=True)
    path.write_bytes((plain.folder / "ca.key").read_bytes())
    path.chmod(0o600)
    said = plain(*ADD)
    assert (said.status, "move it away" in said.err) == (1, True)
    assert path.read_bytes() == (plain.folder / "ca.key").read_bytes()
    assert await writer.fetchval("select count(*) from issuers") == 0


async def test_a_ca_key_with_a_passphrase_of_its_own_is_kept_under_ours(
    plain: Fastocsp, writer: Connection, openssl: Callable[..., str]
) -> None:
    """However short theirs is; a wrong or missing one, or none of ours, is one sentence and leaves nothing."""
    openssl("rsa -aes128 -in ca.key -out theirs.key -passout pass:abcd")
    (plain.folder / "theirs.key").chmod(0o600)
    (plain.folder / "right").write_text("abcd\n")
    (plain.folder / "wrong").write_text("efgh\n")
    add = ("issuer", "add", "--cert", "ca.pem", "--key", "theirs.key")
    kept = plain.folder / "data/keys/ca-plain-ca.key"
    for words, sentence in (
        (add, "theirs.key is encrypted and no passphrase is given"),
        ((*add, "--key-passphrase-file", "wrong"), "theirs.key cannot be read: the passphrase is wrong"),
        ((*add, "--key-passphrase-file", "right"), "set FASTOCSP_CONFIG_ENCRYPTION_KEY first"),
    ):
        refused = plain(*words)
        assert refused.status == 2
        assert sentence in refused.err
        assert not kept.exists()
    ours = "a passphrase of more than thirty-two bytes"
    added = plain(*add, "--key-passphrase-file", "right", "--json", FASTOCSP_CONFIG_ENCRYPTION_KEY=ours)
    assert added.status == 0, added.err
    assert added.json["ca_key"] == str(kept)
    assert SoftKey.load(kept, ours.encode()).public_key == SoftKey.load(plain.folder / "ca.key").public_key
    assert await writer.fetchval("select key_path from issuers") == str(kept)
    assert plain(*add, "--key-passphrase-file", "right", FASTOCSP_CONFIG_ENCRYPTION_KEY=ours).status == 0


async def test_the_cas_own_key_stays_where_it_is(plain: Fastocsp, writer: Connection) -> None:
    """Named by option or by the two settings, it makes responders and CRLs here, and can issue."""
    added = plain("issuer", "add", "--json", FASTOCSP_CA_CERT_PATH="ca.pem", FASTOCSP_CA_KEY_PATH="ca.key")
    assert added.status == 0, added.err
    said = added.json
    assert (said["responder_mode"], said["publishes_crl"]) == ("delegated", True)
    assert said["ca_key"] == str(plain.folder / "ca.key")
    assert not (plain.folder / "data").exists()
    issued = plain("ca", "issue", "plain-ca", "--name", "a.example", "--json").json
    assert issued["crl_url"] == [said["crl_url"]] == ["http://ocsp.example/.well-known/pki/crl/plain-ca"]
    for column in ("crl_url", "ocsp_url", "ca_issuers_url"):
        with pytest.raises(asyncpg.CheckViolationError, match="issuers_urls_are_not_empty"):
            await writer.execute(f"update issuers set {column} = ''")


async def test_an_id_belongs_to_one_certificate(plain: Fastocsp, openssl: Callable[..., str]) -> None:
    """Another CA of the same name needs another id; the same CA keeps the one it has; a CRL needs the CA's key."""
    assert plain(*ADD, "--id", "one").status == 0
    assert plain(*ADD, "--id", "two").status == 1
    assert plain(*ADD, "--crl").status == 1
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 100 -subj", "/CN=Plain CA")
    responder(plain.folder, openssl, "r", EXTENSIONS)
    assert plain(*ADD, "--id", "one").status == 1
    assert plain(*ADD, "--id", "two").status == 0


async def test_removed_issuer_is_gone_from_lists_and_status_and_can_be_restored(
    root_ca: Fastocsp, writer: Connection
) -> None:
    """Refused while it has a valid certificate, unless that is meant; restored it is frozen."""
    assert root_ca("ca", "issue", "root", "--name", "a.example").status == 0
    refused = root_ca("issuer", "remove", "root")
    assert (refused.status, "1 certificates that are valid" in refused.err) == (1, True)
    assert "pass --force" in refused.err
    assert root_ca("issuer", "remove", "none").status == 1
    assert root_ca("issuer", "remove", "root", "--force", "--json").json["changed"]
    assert not root_ca("issuer", "remove", "root", "--json").json["changed"]
    assert root_ca("issuer", "list", "--json").json["row_count"] == 0
    assert root_ca("status", "--json").json["ledger"]["issuers"] == []
    assert root_ca("ca", "issue", "root", "--name", "b.example").status == 1
    assert root_ca("issuer", "restore", "root", "--json").json["changed"]
    assert root_ca("ca", "issue", "root", "--name", "b.example").status == 1
    assert root_ca("ca", "thaw", "root").status == 0
    assert root_ca("ca", "issue", "root", "--name", "b.example").status == 0
    actions = await writer.fetch("select action from audit_events where action like 'issuer-%' order by seq")
    assert [row["action"] for row in actions] == ["issuer-remove", "issuer-restore", "issuer-thaw"]
