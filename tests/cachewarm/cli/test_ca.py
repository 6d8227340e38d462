"""`fastocsp ca`: init, issue, show."""

import stat
from collections.abc import Callable

import pytest
from cryptography import x509

from _fastocsp.crl.entry_writer import shard_of
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger.connect import Connection
from tests.cachewarm.cli.conftest import Fastocsp

PASSPHRASE = "correct horse battery staple, twice over"


@pytest.mark.parametrize("kind", list(KeyKind), ids=str)
def test_a_root_of_every_kind_of_key(fastocsp: Fastocsp, kind: KeyKind) -> None:
    """Its key is in DATA_DIR/keys, for its owner alone."""
    made = fastocsp("ca", "init", "--id", "ca1", "--subject", "CN=One", "--key", kind.value, "--json")
    assert made.status == 0
    path = fastocsp.folder / "data/keys/ca-ca1.key"
    assert made.json["key_path"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    SoftKey.load(path)


def test_a_sub_ca_is_in_its_parents_inventory(root_ca: Fastocsp, openssl: Callable[..., str]) -> None:
    """So that the parent's answers know it; openssl accepts the chain."""
    assert (
        root_ca("ca", "init", "--id", "sub", "--subject", "CN=Sub", "--parent", "root", "--validity", "2y").status == 0
    )
    for name in ("root", "sub"):
        (root_ca.folder / f"{name}.pem").write_text(root_ca("ca", "show", name, "--pem").out)
    assert "OK" in openssl("verify", "-CAfile", "root.pem", "sub.pem")
    serial = root_ca("ca", "show", "sub", "--json").json["serial"]
    assert root_ca("revoke", "--serial", serial, "--json").json["issuer_id"] == "root"


def test_an_issued_certificate_says_where_its_status_is(root_ca: Fastocsp) -> None:
    """URLs of the issuer, names, must-staple, a key of its own, readable by its owner alone."""
    made = root_ca("ca", "issue", "root", "--name", "*.a.example", "--name", "10.0.0.1", "--must-staple", "--json").json
    assert made["ocsp_url"] == ["http://ocsp.example/.well-known/pki/ocsp/root"]
    assert (made["names"], made["must_staple"]) == (["*.a.example", "10.0.0.1"], True)
    key, cert = root_ca.folder / "_.a.example.key", root_ca.folder / "_.a.example.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert SoftKey.load(key).public_key == x509.load_pem_x509_certificate(cert.read_bytes()).public_key()
    assert root_ca("ca", "show", "_.a.example.pem", "--json").json["serial"] == made["serial"]


def test_a_certificate_names_its_shard_unless_it_is_told_another_url(fastocsp: Fastocsp) -> None:
    """What `ca init` said of CRLs is shown, and in what it issues; a URL that is given is taken as it is."""
    options = ("--crl-shards", "5", "--delta-crl", "--crl-scope", "user", "--json")
    made = fastocsp("ca", "init", "--id", "web", "--subject", "CN=Web", *options).json
    assert (made["crl_shards"], made["delta_crl"], made["crl_scope"]) == (5, True, "user")
    issued = fastocsp("ca", "issue", "web", "--name", "a.example", "--json").json
    shard = shard_of(bytes.fromhex(issued["serial"]), 5)
    assert issued["crl_url"] == [f"http://ocsp.example/.well-known/pki/crl/web/{shard}"]
    other = ("--crl-url", "http://crl.example.com/x")
    assert fastocsp("ca", "issue", "web", "--name", "b.example", *other, "--json").json["crl_url"] == [other[1]]
    assert fastocsp("ca", "issue", "web", "--name", "c.example", "--no-crl-url", "--json").json["crl_url"] == []
    below = fastocsp("ca", "init", "--id", "sub", "--subject", "CN=Sub", "--parent", "web")
    assert (below.status, "user certificates alone" in below.err) == (1, True)


def test_an_issuer_of_ca_certificates_issues_no_other(fastocsp: Fastocsp) -> None:
    """Its CRLs could not revoke it; nothing is written."""
    assert fastocsp("ca", "init", "--id", "top", "--subject", "CN=Top", "--crl-scope", "ca").status == 0
    refused = fastocsp("ca", "issue", "top", "--name", "a.example")
    assert (refused.status, "CA certificates alone" in refused.err) == (1, True)
    assert not (fastocsp.folder / "a.example.pem").exists()
    for option, value in (("--crl-shards", "4097"), ("--crl-shards", "-1"), ("--crl-scope", "some")):
        assert fastocsp("ca", "init", "--id", "x", "--subject", "CN=X", option, value).status == 2


def test_keys_are_encrypted_under_the_passphrase(fastocsp: Fastocsp) -> None:
    """Both the CA's and the certificate's; without it nothing is issued."""
    assert (
        fastocsp("ca", "init", "--id", "ca1", "--subject", "CN=One", FASTOCSP_CONFIG_ENCRYPTION_KEY=PASSPHRASE).status
        == 0
    )
    issue = ("ca", "issue", "ca1", "--name", "a.example", "--out", "made")
    assert fastocsp(*issue).status == 1
    assert not (fastocsp.folder / "made").exists()
    assert fastocsp(*issue, FASTOCSP_CONFIG_ENCRYPTION_KEY=PASSPHRASE).status == 0
    for path in (fastocsp.folder / "data/keys/ca-ca1.key", fastocsp.folder / "made/a.example.key"):
        with pytest.raises(Refused):
            SoftKey.load(path)
        SoftKey.load(path, PASSPHRASE.encode())


def test_a_request_brings_its_own_key(root_ca: Fastocsp, openssl: Callable[..., str]) -> None:
    """No key is made; the names are the request's; overridden URLs are taken."""
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "c.key", "-subj", "/CN=c.example", "-out", "c.csr"),
        *("-addext", "subjectAltName=DNS:c.example"),
    )
    url = "http://status.example/ocsp"
    made = root_ca(
        "ca", "issue", "root", "--csr", "c.csr", "--ocsp-url", url, "--no-crl-url", "--cert-out", "c.crt", "--json"
    )
    assert made.status == 0, made.err
    assert (made.json["ocsp_url"], made.json["crl_url"], made.json["key_file"]) == ([url], [], None)
    assert {name for name in root_ca.files() if not name.startswith("data/")} == {"c.key", "c.csr", "c.crt"}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--id", ("ca", "init", "--id", "No/Good", "--subject", "CN=x")),
        ("--subject", ("ca", "init", "--id", "ca1", "--subject", " ")),
        ("--key", ("ca", "init", "--id", "ca1", "--subject", "CN=x", "--key", "dsa")),
        ("--validity", ("ca", "init", "--id", "ca1", "--subject", "CN=x", "--validity", "soon")),
        ("--validity", ("ca", "init", "--id", "ca1", "--subject", "CN=x", "--validity", "0s")),
        ("--validity", ("ca", "init", "--id", "ca1", "--subject", "CN=x", "--validity", "10")),
        ("--unissued", ("ca", "init", "--id", "ca1", "--subject", "CN=x", "--unissued", "perhaps")),
        ("--public-url", ("ca", "init", "--id", "ca1", "--subject", "CN=x", "--public-url", "https://x.example")),
        ("--name", ("ca", "issue", "root", "--name", "no name")),
        ("--name", ("ca", "issue", "root")),
        ("--profile", ("ca", "issue", "root", "--name", "a.example", "--profile", "email")),
        ("--crl-url", ("ca", "issue", "root", "--name", "a.example", "--crl-url", "")),
        (
            "--ocsp-url",
            ("ca", "issue", "root", "--name", "a.example", "--ocsp-url", "http://x.example", "--no-ocsp-url"),
        ),
        ("--csr", ("ca", "issue", "root", "--csr", "missing.csr")),
    ],
    ids=str,
)
async def test_a_bad_value_names_its_option_and_leaves_nothing(
    root_ca: Fastocsp, writer: Connection, option: str, words: tuple[str, ...]
) -> None:
    """Exit status 2, no file, no row."""
    before = root_ca.files()
    said = root_ca(*words)
    assert said.status == 2
    assert option in said.err
    assert root_ca.files() == before
    assert await writer.fetchval("select count(*) from issuers") == 1
    assert await writer.fetchval("select count(*) from certificates") == 0


async def test_ca_without_a_public_url_is_refused(fastocsp: Fastocsp, writer: Connection) -> None:
    """Certificates would point to this host's loopback address until they expire."""
    without = {name: value for name, value in fastocsp.environ.items() if name != "FASTOCSP_PUBLIC_URL"}
    bare = Fastocsp(fastocsp.folder, without)
    words = ("ca", "init", "--id", "ca1", "--subject", "CN=x")
    refused = bare(*words)
    assert refused.status == 2
    assert "FASTOCSP_PUBLIC_URL" in refused.err
    assert "--public-url" in refused.err
    assert await writer.fetchval("select count(*) from issuers") == 0
    assert not any(name.endswith(".key") for name in bare.files())
    made = bare(*words, "--public-url", "http://pki.example/", "--json").json
    assert made["ocsp_url"] == "http://pki.example/.well-known/pki/ocsp/ca1"


async def test_nothing_is_overwritten(root_ca: Fastocsp, writer: Connection) -> None:
    """Not a CA, not its key, not a certificate's file; and what is refused is in no inventory."""
    assert root_ca("ca", "init", "--id", "root", "--subject", "CN=Other").status == 1
    stray = root_ca.folder / "data/keys/ca-stray.key"
    stray.write_text("somebody's")
    refused = root_ca("ca", "init", "--id", "stray", "--subject", "CN=Stray")
    assert (refused.status, stray.read_text()) == (1, "somebody's")
    (root_ca.folder / "a.example.pem").write_text("kept")
    refused = root_ca("ca", "issue", "root", "--name", "a.example")
    assert (refused.status, "a.example.pem" in refused.err) == (1, True)
    assert not (root_ca.folder / "a.example.key").exists()
    assert await writer.fetchval("select count(*) from certificates") == 0


def test_a_certificate_never_outlives_its_ca(fastocsp: Fastocsp) -> None:
    """A validity that was asked for and does not fit is refused, not cut."""
    assert fastocsp("ca", "init", "--id", "brief", "--subject", "CN=Brief", "--validity", "10d").status == 0
    assert fastocsp("ca", "issue", "brief", "--name", "a.example", "--validity", "20d").status == 1
    assert fastocsp("ca", "issue", "brief", "--name", "a.example").status == 0
