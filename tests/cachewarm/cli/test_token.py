"""A CA whose key is in a token (SoftHSM): made, used, without its token, and adopted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cachewarm.ledger.connect import Connection
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.softhsm import SoftHSM


@pytest.fixture
def token(tmp_path: Path) -> SoftHSM:
    """A store with the token `ca`."""
    made = SoftHSM(tmp_path / "softhsm")
    made.add_token("ca")
    return made


@pytest.fixture
def fastocsp(fastocsp: Fastocsp, token: SoftHSM) -> Fastocsp:
    """The command line with that store."""
    return Fastocsp(fastocsp.folder, fastocsp.environ | token.environ)


@pytest.mark.parametrize("kind", ["p256", "rsa2048", "ed25519"])
async def test_ca_in_a_token_issues_and_makes_crls(
    fastocsp: Fastocsp, token: SoftHSM, writer: Connection, openssl: Callable[..., str], kind: str
) -> None:
    """Its certificates and its CRL please openssl; no key file is written, and the ledger has the URI."""
    uri = token.uri("ca", "root")
    init = ("ca", "init", "--id", "hsm", "--subject", "CN=HSM,O=Example", "--key", kind, "--key-uri", uri)
    made = fastocsp(*init, "--json")
    assert made.status == 0, made.err
    assert made.json["key_path"] == uri
    assert await writer.fetchval("select key_path from issuers") == uri
    assert not list(fastocsp.folder.rglob("ca-hsm*"))
    issued = fastocsp("ca", "issue", "hsm", "--name", "a.example", "--out", ".")
    assert issued.status == 0, issued.err
    [leaf] = fastocsp.folder.glob("a.example*.pem")
    (fastocsp.folder / "ca.pem").write_text(fastocsp("ca", "show", "hsm", "--pem").out)
    openssl("verify -CAfile ca.pem", leaf.name)
    generated = fastocsp("crl", "generate", "hsm", "--json")
    assert generated.status == 0, generated.err
    (fastocsp.folder / "crl.der").write_bytes(await writer.fetchval("select crl_der from crl_cache"))
    openssl("crl -inform DER -in crl.der -CAfile ca.pem -noout")


async def test_token_that_is_away_is_a_sentence_and_works_again_when_it_is_back(
    fastocsp: Fastocsp, token: SoftHSM
) -> None:
    """The URI is named, the PIN is not; nothing is issued."""
    uri = token.uri("ca", "root")
    made = fastocsp("ca", "init", "--id", "hsm", "--subject", "CN=HSM", "--key-uri", uri)
    assert made.status == 0, made.err
    away = shutil.move(token.tokens, token.folder / "away")
    token.tokens.mkdir()
    issue = ("ca", "issue", "hsm", "--name", "a.example", "--out", ".")
    failed = fastocsp(*issue)
    assert failed.status == 1
    assert "the token cannot be used: no such token" in failed.err
    assert "1234" not in failed.err
    assert not list(fastocsp.folder.glob("a.example*"))
    token.tokens.rmdir()
    shutil.move(away, token.tokens)
    assert fastocsp(*issue).status == 0


async def test_ca_certificate_is_adopted_with_its_key_in_a_token(
    fastocsp: Fastocsp, token: SoftHSM, writer: Connection
) -> None:
    """A key of another CA, a file beside it, a URI with a PIN: refused, and nothing is added."""
    uri = token.uri("ca", "root")
    made = fastocsp("ca", "init", "--id", "hsm", "--subject", "CN=HSM", "--key-uri", uri)
    assert made.status == 0, made.err
    ca = fastocsp.folder / "ca.pem"
    ca.write_text(fastocsp("ca", "show", "hsm", "--pem").out)
    for name, given in (("other", token.uri("ca", "nobody")), ("pin", uri + "&pin-value=1234")):
        refused = fastocsp("issuer", "add", "--id", name, "--cert", ca, "--key-uri", given)
        assert refused.status == 2, refused.err
        assert "1234" not in refused.err
    beside = fastocsp("issuer", "add", "--cert", ca, "--key", ca, "--key-uri", uri)
    assert beside.status == 2
    again = fastocsp("issuer", "add", "--id", "hsm", "--cert", ca, "--key-uri", uri, "--json")
    assert again.status == 0, again.err
    assert again.json["ca_key"] == uri
    assert await writer.fetchval("select count(*) from issuers") == 1


async def test_key_that_is_in_the_token_is_used_only_when_that_is_meant(
    fastocsp: Fastocsp, token: SoftHSM, writer: Connection
) -> None:
    """A second CA on the key of a first one, a key of another kind, a key that is not there: refused, nothing added."""
    uri = token.uri("ca", "root")
    init = ("ca", "init", "--subject", "CN=HSM")
    assert fastocsp(*init, "--id", "one", "--key", "p384", "--key-uri", uri).status == 0
    taken = fastocsp(*init, "--id", "two", "--key-uri", uri)
    assert taken.status == 1
    assert "has a key of that name already; to use it, say --existing-key" in taken.err
    differs = fastocsp(*init, "--id", "two", "--key-uri", uri, "--existing-key", "--key", "p256")
    assert differs.status == 1
    assert "the key in the token is p384, not p256" in differs.err
    missing = fastocsp(*init, "--id", "two", "--key-uri", token.uri("ca", "none"), "--existing-key")
    assert missing.status == 1
    assert "the token has no such key" in missing.err
    no_token = fastocsp(*init, "--id", "two", "--existing-key")
    assert no_token.status == 2
    assert "--key-uri" in no_token.err
    assert await writer.fetchval("select count(*) from issuers") == 1
    meant = fastocsp("ca", "init", "--id", "two", "--subject", "CN=Two", "--key-uri", uri, "--existing-key", "--json")
    assert meant.status == 0, meant.err
    assert meant.json["key_path"] == uri
