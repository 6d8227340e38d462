"""Signatures through the CA signer: what is allowed is made and verified by openssl, what is not is refused."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog

from cachewarm.ca.ca_keys import Purpose
from cachewarm.ca.responder_certificate import make
from cachewarm.ca_signer.client import RemoteKey
from cachewarm.ca_signer.wire import Outcome, Reason
from cachewarm.crl.regenerate import regenerate, regenerate_delta
from cachewarm.crl.sign_and_check import Rules
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.errors import Refused, SignerUnavailable
from cachewarm.keys.key_kind import KeyKind
from cachewarm.keys.signing_key import sign_parts
from cachewarm.ledger import ca_signer, issuers
from cachewarm.ledger.connect import connected
from cachewarm.ledger.issuers import CRLWish
from tests.cachewarm.ca_signer.conftest import Site
from tests.cachewarm.cli.conftest import openssl_in
from tests.cachewarm.conftest import KINDS
from tests.support.ca_signer import ThreadedCASigner

RULES = Rules(validity_s=86400)


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_what_each_kind_of_key_signs_verifies(site: Site, kind: KeyKind) -> None:
    """A leaf, a CA, its responder, complete CRL, shards and delta."""
    root = await site.found("root", kind=kind, crls=CRLWish(delta=True, shards=2))
    sub = await site.found("sub", root, kind=kind)
    responder, _ = make(site.authority(sub, Purpose.RESPONDER), "sub", now=int(time.time()))
    files = {
        "root.pem": root.cert_der,
        "sub.pem": sub.cert_der,
        "leaf.pem": site.leaf(sub).cert_der,
        "responder.pem": responder.cert_der,
    }
    openssl = openssl_in(site.folder)
    for name, der in files.items():
        (site.folder / "der").write_bytes(der)
        openssl("x509 -inform DER -in der -out", name)
    for name in ("leaf.pem", "responder.pem"):
        openssl("verify -CAfile root.pem -untrusted sub.pem", name)
    assert await regenerate(site.connection, root, site.signer.keys, RULES) == 1
    assert await regenerate_delta(site.connection, root, site.signer.keys, RULES) == 2
    assert await regenerate(site.connection, root, site.signer.keys, RULES) == 3
    rows = await site.connection.fetch("select crl_der from crl_cache union all select crl_der from crl_parts")
    assert len(rows) == 4
    for row in rows:
        (site.folder / "crl").write_bytes(row["crl_der"])
        openssl("crl -inform DER -in crl -CAfile root.pem -noout")


async def test_key_signs_for_its_purpose_alone_and_no_digest(site: Site) -> None:
    """The reason of a refusal is typed and counted, and the next request is served."""
    root, other = await site.found("root"), await site.found("other")
    key, wrong = site.authority(root).key, site.authority(root, Purpose.CRL).key
    tbs = site.leaf(root).certificate.tbs_certificate_bytes
    theirs = site.leaf(other).certificate.tbs_certificate_bytes
    assert key.sign(tbs)
    with pytest.raises(Refused, match="signs no digest"):
        key.sign_digest(b"\1" * 32)
    for bad, signer in ((b"\1" * 32, key), (theirs, key), (tbs, wrong), (b"", key), (b"", wrong)):
        with pytest.raises(Refused):
            signer.sign(bad)
    with pytest.raises(Refused):
        sign_parts(key, [tbs[:40], b"", tbs[41:]])
    assert sign_parts(key, [tbs[:40], memoryview(tbs)[40:]])
    assert site.signer.server.refused == {Reason.FORM: 5, Reason.ISSUER: 1}
    assert site.signer.service.signed[Purpose.CERTIFICATE] == 4


async def test_number_of_a_crl_is_signed_once(site: Site) -> None:
    """A copy of a CRL, and one with a number that the ledger never gave out."""
    root = await site.found("root")
    key = site.authority(root, Purpose.CRL).key
    seen: list[bytes] = []

    class Recording(RemoteKey):
        """Keeps what passes."""

        def sign_parts(self, parts: "list[bytes]") -> bytes:  # type: ignore[override]
            seen.append(b"".join(parts))
            return super().sign_parts(parts)

    class Keys:
        """Hands out such a key."""

        def key_of(self, issuer: issuers.Issuer, purpose: Purpose) -> RemoteKey:
            return Recording(site.signer.keys.signer, issuer.issuer_id, key.public_key, purpose)

    await regenerate(site.connection, root, Keys(), RULES)
    with pytest.raises(Refused, match="its number 1 is not above 1"):
        key.sign(seen[0])
    number = bytes.fromhex("0603551d1404030201")
    with pytest.raises(Refused, match="its number 2 was not taken from the ledger"):
        key.sign(seen[0].replace(number + b"\1", number + b"\2"))
    site.signer.stop()
    site.signer.start()
    with pytest.raises(Refused, match="its number 1 is not above 1"):
        key.sign(seen[0])  # by the ledger's word alone


async def test_stopped_signer_is_one_sentence_and_works_again_when_it_runs(site: Site) -> None:
    """Callers keep their keys; no number of a CRL is spent meanwhile."""
    root = await site.found("root")
    authority = site.authority(root)
    tbs = site.leaf(root).certificate.tbs_certificate_bytes
    site.signer.stop()
    with pytest.raises(SignerUnavailable, match=r"the CA signer does not run .*start `fastocsp ca-signer`"):
        authority.key.sign(tbs)
    for _ in range(3):
        with pytest.raises(SignerUnavailable):
            await regenerate(site.connection, root, site.signer.keys, RULES)
    site.signer.start()
    assert authority.key.sign(tbs)
    assert await regenerate(site.connection, root, site.signer.keys, RULES) == 1


async def test_signer_without_its_ledger_says_so_and_comes_back(site: Site, database: DatabaseURLs) -> None:
    """States are the ledger's: without it nothing is signed."""
    root = await site.found("root")
    tbs, key = site.leaf(root).certificate.tbs_certificate_bytes, site.authority(root).key
    async with connected(database.owner) as owner:
        await owner.execute("alter role fastocsp_ca_signer connection limit 0")
        await owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fastocsp_ca_signer'"
        )
        try:
            with pytest.raises(SignerUnavailable):
                key.sign(tbs)
        finally:
            await owner.execute("alter role fastocsp_ca_signer connection limit 10")
    assert key.sign(tbs)


async def test_key_that_is_no_pair_or_gone_is_a_fault_of_its_issuer_alone(
    site: Site, log: "structlog.testing.LogCapture"
) -> None:
    """The file is named, the fault logged once, others are served; it works again when the key is back."""
    root, other = await site.found("root"), await site.found("other")
    path = Path(root.key_path or "")
    right = path.read_bytes()
    path.write_bytes(Path(other.key_path or "").read_bytes())
    for _ in range(2):
        with pytest.raises(Refused, match=f"{path} is not the key of root"):
            site.authority(root)
    path.unlink()
    with pytest.raises(Refused, match=f"{path} is missing"):
        site.authority(root)
    assert site.signer.keys.signer.faults().keys() == {"root"}
    assert site.leaf(other)
    path.touch(mode=0o600)
    path.write_bytes(right)
    assert site.leaf(root)
    assert site.signer.keys.signer.faults() == {}
    assert [each["event"] for each in log.entries].count("CA key not usable") == 2


@pytest.fixture
def log() -> "Iterator[structlog.testing.LogCapture]":
    """What is logged."""
    from structlog.testing import LogCapture

    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(**before)


async def test_login_of_an_edge_reads_no_places_of_keys(site: Site, database: DatabaseURLs) -> None:
    """The functions answer the CA signer's login and writers."""
    await site.found("root")
    async with connected(database.edge) as edge:
        for call in (ca_signer.signing_issuer(edge, "root"), ca_signer.crl_numbers(edge, "root")):
            with pytest.raises(Refused, match="fastocsp_edge is no login of a CA signer"):
                await call


_AS_NOBODY = """
import json, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
request = json.dumps({"do": "open", "issuer": "root", "purpose": "CRL"}).encode()
try:
    line.sendall(len(request).to_bytes(4) + request)
except BrokenPipeError:  # refused before all was sent
    pass
size = int.from_bytes(line.recv(4))
print(line.recv(size).decode())
"""


@pytest.mark.parametrize(("uids", "wanted"), [((), None), ((12345,), Outcome.REFUSED), ((65534,), Outcome.DONE)])
async def test_other_accounts_are_refused_unless_they_are_named(
    site: Site, database: DatabaseURLs, uids: tuple[int, ...], wanted: str | None
) -> None:
    """Refused by the socket's mode, and by the kernel's word about the peer where the socket is open to others."""
    await site.found("root")
    site.folder.chmod(0o755)
    signer = ThreadedCASigner(site.folder / "other.sock", database.ca_signer, uids).start()
    words = [sys.executable, "-c", _AS_NOBODY, str(signer.socket)]
    run = partial(subprocess.run, capture_output=True, text=True, timeout=30, check=False, cwd="/")
    done = await asyncio.to_thread(run, words)
    signer.stop()
    if wanted is None:
        assert "PermissionError" in done.stderr
    else:
        assert f'"outcome": "{wanted}"' in done.stdout, done.stderr
        assert signer.server.refused[Reason.PEER] == (wanted is Outcome.REFUSED)


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff" + b"x" * 100,
        b"\0\0\0\2[]",
        b"\0\0\0\2{}",
        b"\0\0\0\3abc",
        b"\0\0",
        b"",
    ],
)
async def test_rubbish_ends_its_connection_and_nothing_else(site: Site, octets: bytes) -> None:
    """The next client is served."""
    root = await site.found("root")
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(site.signer.socket))
        line.sendall(octets)
        line.shutdown(socket.SHUT_WR)
        line.settimeout(10)
        while line.recv(4096):
            pass
    assert site.leaf(root)


async def test_refusal_in_the_middle_of_a_large_request_reaches_the_client(site: Site) -> None:
    """The CA signer ends the connection before all is sent; its reply is read all the same."""
    root = await site.found("root")
    with pytest.raises(Refused, match="TBSCertList"):
        site.authority(root, Purpose.CRL).key.sign(b"\x30\x84\x01\x00\x00\x00" + bytes(8 << 20))
    with pytest.raises(Refused, match="more than"):
        site.authority(root).key.sign(bytes(4 << 20))
