"""Clients that check the whole chain by our CRLs: `openssl verify -crl_check_all`, nginx `ssl_crl`, HAProxy `crl-file`.

A root, a CA below it, and three client certificates, of which one is revoked; the CRLs are those that are published. A
critical issuing distribution point in the root's CRL makes each of these clients refuse everything.
"""

import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.ca.certificate import parse_subject
from cachewarm.ca.issue import Terms
from cachewarm.ca.profiles import TLS_CLIENT, TLS_SERVER
from cachewarm.ca.registry import found_ca, issue_leaf, load_authority, pointers_of
from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.sign_and_check import Rules
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger.crls import read_crl
from cachewarm.ledger.issuers import CRLWish
from cachewarm.ledger.revocations import revoke
from tests.support.breakage import eventually
from tests.support.instance import free_port
from tests.support.judges import openssl
from tests.support.plant import Plant

_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;
    ssl_client_certificate {folder}/cas.pem; ssl_verify_client on; ssl_verify_depth 3; ssl_crl {folder}/crls.pem;
    location / {{ return 200 "in"; }}
  }}
}}
"""
_HAPROXY = """
global
  log stderr format raw local0
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend checked
  bind 127.0.0.1:{port} ssl crt {folder}/server.pem ca-file {folder}/cas.pem crl-file {folder}/crls.pem verify required
  http-request return status 200 content-type text/plain string in
"""


@dataclass(frozen=True)
class Chain:
    """Files of a folder: cas.pem, crls.pem, root.pem, sub.pem, server.pem, good.pem, revoked.pem (with keys)."""

    folder: Path

    def verify(self, name: str) -> str:
        """What openssl says of a client certificate."""
        return openssl(
            "verify", "-crl_check_all", "-CAfile", self.folder / "root.pem", "-untrusted", self.folder / "sub.pem",
            "-CRLfile", self.folder / "crls.pem", self.folder / f"{name}.pem",
        )  # fmt: skip


@pytest.fixture(params=["all", "deltas and shards"])
async def chain(plant: Plant, tmp_path: Path, request: pytest.FixtureRequest) -> Chain:
    """The plant's CA is the root; the CRLs are the complete ones, with deltas and shards beside them or without."""
    now, key = int(time.time()), SoftKey.generate(KeyKind.P256)
    wish = CRLWish(delta=True, shards=2) if request.param != "all" else CRLWish()
    sub = await found_ca(
        plant.connection,
        issuer_id="sub",
        kind=KeyKind.P256,
        subject=parse_subject("CN=Plant Sub CA,O=Tests"),
        parent=plant.issuer,
        parent_authority=plant.authority,
        base_url="http://ocsp.example.com",
        keys=plant.keys,
        passphrase=None,
        now=now,
        crls=wish,
        actor="tests",
    )
    authority = load_authority(sub, None)
    pems = {"root": plant.authority.certificate, "sub": authority.certificate}
    files = {name: certificate.public_bytes(Encoding.PEM) for name, certificate in pems.items()}
    for name, profile in (("server", TLS_SERVER), ("good", TLS_CLIENT), ("revoked", TLS_CLIENT)):
        leaf = await issue_leaf(
            plant.connection,
            sub,
            authority,
            names=["localhost"],
            public_key=key.public_key,
            terms=Terms(pointers_of(sub), profile=profile),
            now=now,
        )
        files[name] = leaf.pem + files["sub"] + key.to_pem(None)
        if name == "revoked":
            await revoke(plant.connection, "sub", leaf.serial, actor="tests")
    crls = []
    for issuer in (plant.issuer, sub):
        await regenerate(plant.connection, issuer, None, Rules(validity_s=3600))
        published = await read_crl(plant.connection, issuer.issuer_id)
        assert published is not None
        crls.append(x509.load_der_x509_crl(published.crl_der).public_bytes(Encoding.PEM))
    files |= {"cas": files["root"] + files["sub"], "crls": b"".join(crls)}
    for name, content in files.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    return Chain(tmp_path)


def test_openssl_accepts_the_good_and_refuses_the_revoked_one(chain: Chain) -> None:
    """With `-crl_check_all`, over root and CA, without further options."""
    assert "OK" in chain.verify("good")
    with pytest.raises(AssertionError, match="error 23 at 0 depth lookup: certificate revoked"):
        chain.verify("revoked")


@pytest.mark.parametrize("server", ["nginx", "haproxy"])
def test_a_tls_server_accepts_the_good_and_refuses_the_revoked_client(chain: Chain, server: str) -> None:
    """By the CRLs of the whole chain, which it checks at each handshake."""
    with running(chain.folder, server) as port:
        assert get(chain.folder, port, "good") == "in"
        assert get(chain.folder, port, "revoked") != "in"


@contextmanager
def running(folder: Path, server: str) -> Iterator[int]:
    """The server on a free port, until the end of the test."""
    program = shutil.which(server) or f"/usr/sbin/{server}"
    assert Path(program).exists(), f"this test needs {server}: tests/tools.sh installs it"
    port, configuration = free_port(), folder / f"{server}.conf"
    configuration.write_text((_NGINX if server == "nginx" else _HAPROXY).format(folder=folder, port=port))
    options = ["-p", str(folder), "-c", str(configuration)] if server == "nginx" else ["-db", "-f", str(configuration)]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([program, *options], stdout=output, stderr=output)
    try:
        eventually(lambda: get(folder, port, "good") == "in", 10, (folder / "output").read_text())
        yield port
    finally:
        process.terminate()
        process.wait(10)


def get(folder: Path, port: int, client: str) -> str:
    """What the server answers to that client; the error when there is no answer."""
    context = ssl.create_default_context(cafile=str(folder / "root.pem"))
    context.load_cert_chain(folder / f"{client}.pem")
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({}))
    return answered(lambda: opener.open(f"https://localhost:{port}/", timeout=5).read().decode())


def answered(ask: Callable[[], str]) -> str:
    """The text, or the error."""
    try:
        return ask()
    except urllib.error.HTTPError as error:
        error.close()
        return str(error)
    except OSError as error:
        return str(error)
