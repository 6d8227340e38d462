"""A CA below a root made by openssl: its request, the certificate that comes back, and what openssl makes of it all."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from _fastocsp.wire.codes import GOOD
from cachewarm.ca.authority import Authority
from cachewarm.ca.certificate import epoch, read_certificate
from cachewarm.ca.responder_certificate import make
from cachewarm.ca.subordinate import check_returned, read_chain
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import SoftKey
from cachewarm.ledger.connect import Connection
from cachewarm.records.mint import mint
from cachewarm.records.statement import Statement
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.domain.status import HashAlgorithm
from responder.feed.machine import Position
from tests.cachewarm.cli.conftest import Fastocsp
from tests.support.softhsm import SoftHSM

OpenSSL = Callable[..., str]
INIT = ("ca", "init", "--id", "sub", "--subject", "CN=Sub,O=Example", "--csr-out", "sub.csr")
COMPLETE = ("ca", "complete", "--id", "sub", "--cert", "sub.pem")


def root(openssl: OpenSSL, name: str = "root") -> None:
    """Make NAME.pem and NAME.key."""
    openssl(f"req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -subj /CN={name} -days 30 -out {name}.pem")


def sign(openssl: OpenSSL, folder: Path, extensions: str) -> None:
    """Sign sub.csr with the root, with those extensions."""
    (folder / "ext.cnf").write_text(extensions)
    openssl("x509 -req -in sub.csr -CA root.pem -CAkey root.key -extfile ext.cnf -days 20 -out sub.pem")


CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"


@pytest.mark.parametrize("place", ["file", "token"])
async def test_subordinate_ca_is_requested_completed_and_used(
    fastocsp: Fastocsp, openssl: OpenSSL, writer: Connection, tmp_path: Path, place: str
) -> None:
    """Both commands repeat without a change; certificate and CRL below it are verified by openssl up to the root."""
    where: tuple[str, ...] = ()
    if place == "token":
        token = SoftHSM(tmp_path / "softhsm")
        token.add_token("ca")
        fastocsp = Fastocsp(fastocsp.folder, fastocsp.environ | token.environ)
        where = ("--key-uri", token.uri("ca", "sub"))
    root(openssl)
    requested = fastocsp(*INIT, *where)
    assert requested.status == 0, requested.err
    assert "fastocsp ca complete --id sub" in requested.err
    request = (fastocsp.folder / "sub.csr").read_bytes()
    text = openssl("req -in sub.csr -verify -noout -text")
    assert "CA:TRUE" in text
    assert "Certificate Sign, CRL Sign" in text
    assert fastocsp(*INIT, *where).status == 0
    assert (fastocsp.folder / "sub.csr").read_bytes() == request
    assert await writer.fetchval("select count(*) from issuers") == 0
    sign(openssl, fastocsp.folder, CA)
    for _ in range(2):
        completed = fastocsp(*COMPLETE, *where, "--chain", "root.pem")
        assert completed.status == 0, completed.err
    assert fastocsp("ca", "issue", "sub", "--name", "a.example", "--out", ".").status == 0
    openssl("verify -CAfile root.pem -untrusted sub.pem a.example.pem")
    assert fastocsp("crl", "generate", "sub").status == 0
    (fastocsp.folder / "crl.der").write_bytes(await writer.fetchval("select crl_der from crl_cache"))
    openssl("crl -inform DER -in crl.der -CAfile sub.pem -noout")
    assert fastocsp(*INIT, *where).status == 1


async def test_certificate_that_makes_no_working_ca_is_refused(
    fastocsp: Fastocsp, openssl: OpenSSL, writer: Connection
) -> None:
    """Each refusal is one sentence, and no issuer is added."""
    root(openssl)
    root(openssl, "other")
    assert fastocsp(*INIT).status == 0
    cases = [
        (CA, "other.pem", "is not known here"),
        (CA, None, "is not known here"),
        ("basicConstraints=CA:FALSE\n", "root.pem", "is not a CA"),
        ("basicConstraints=CA:TRUE\nkeyUsage=cRLSign\n", "root.pem", "lacks keyCertSign"),
        ("basicConstraints=CA:TRUE\nkeyUsage=keyCertSign\n", "root.pem", "lacks cRLSign"),
    ]
    for extensions, chain, sentence in cases:
        sign(openssl, fastocsp.folder, extensions)
        refused = fastocsp(*COMPLETE, *(("--chain", chain) if chain else ()))
        assert refused.status != 0, sentence
        assert sentence in refused.err
    refused = fastocsp("ca", "complete", "--id", "sub", "--cert", "other.pem", "--chain", "root.pem")
    assert "the key does not belong to the certificate" in refused.err
    assert await writer.fetchval("select count(*) from issuers") == 0


async def test_request_never_overwrites_a_file_or_a_key(fastocsp: Fastocsp) -> None:
    """Another subject, another kind of key, a file that is no request: refused, and the files stay as they are."""
    assert fastocsp(*INIT).status == 0
    paths = [fastocsp.folder / "sub.csr", fastocsp.folder / "data/keys/ca-sub.key"]
    before = [path.read_bytes() for path in paths]
    for changed in (("--key", "p384"), ("--subject", "CN=Other")):
        assert fastocsp(*INIT, *changed).status == 1
    assert [path.read_bytes() for path in paths] == before
    assert fastocsp(*INIT, "--parent", "x").status == 2


def test_returned_certificate_is_refused_outside_of_its_validity(fastocsp: Fastocsp, openssl: OpenSSL) -> None:
    """Before its first second and after its last one; in between it is taken."""
    root(openssl)
    assert fastocsp(*INIT).status == 0
    sign(openssl, fastocsp.folder, CA)
    folder = fastocsp.folder
    key = SoftKey.load(folder / "data/keys/ca-sub.key")
    above = read_chain(folder / "root.pem")
    sub = read_certificate((folder / "sub.pem").read_bytes())
    first, last = epoch(sub.not_valid_before_utc), epoch(sub.not_valid_after_utc)
    check_returned(sub, key, above, now=first)
    check_returned(sub, key, above, now=last)
    with pytest.raises(Refused, match="is valid only from"):
        check_returned(sub, key, above, now=first - 1)
    with pytest.raises(Refused, match="expired at"):
        check_returned(sub, key, above, now=last + 1)


def test_answer_below_the_returned_certificate_is_verified_up_to_the_root(fastocsp: Fastocsp, openssl: OpenSSL) -> None:
    """A delegated responder of the new CA signs it, and openssl trusts the root alone."""
    root(openssl)
    assert fastocsp(*INIT).status == 0
    sign(openssl, fastocsp.folder, CA)
    assert fastocsp(*COMPLETE, "--chain", "root.pem").status == 0
    folder, now, serial = fastocsp.folder, int(time.time()), bytes.fromhex("5a00112233445566")
    ca = Authority.load(folder / "sub.pem", folder / "data/keys/ca-sub.key")
    issued, key = make(ca, "sub", now=now)
    issuer = Issuer.from_certificate(ca.certificate.public_bytes(Encoding.DER), issuer_id="sub", issuer_no=1)
    template = templates(issuer, ResponderCertificate.from_der(issued.cert_der))[HashAlgorithm.SHA256]
    record = mint(Statement(GOOD, now, now + 3600, Position(1, 7, b"")), serial, template, key, now)
    (folder / "answer.der").write_bytes(template.encode(serial, record))
    openssl("ocsp -respin answer.der -CAfile root.pem -verify_other sub.pem")
    root(openssl, "other")
    with pytest.raises(subprocess.CalledProcessError):
        openssl("ocsp -respin answer.der -CAfile other.pem -verify_other sub.pem")


async def test_options_that_cannot_be_part_of_a_request_are_refused(fastocsp: Fastocsp) -> None:
    """Named, before a key is made."""
    said = fastocsp(*INIT, "--public-url", "http://pki.example", "--crl-shards", "4")
    assert said.status == 2
    assert "--public-url, --crl-shards cannot be part of a request" in " ".join(said.err.split())
    assert not (fastocsp.folder / "sub.csr").exists()
