"""What `ca show` prints, and the certificate of the admin listener in a real TLS handshake."""

import json
import socket
import ssl
import stat
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cachewarm.ca import listener_certificate
from cachewarm.ca.describe import describe
from cachewarm.ca.issue import Terms, issue
from cachewarm.ca.responder_certificate import make
from cachewarm.errors import Refused
from cachewarm.keys.soft_key import SoftKey
from tests.cachewarm.conftest import NOW, POINTERS, House
from tests.support.http import question
from tests.support.judges import lint_certificate, openssl


def test_description_is_plain_json(house: House) -> None:
    """Every kind of certificate can be shown; the fields survive JSON."""
    leaf = issue(house.sub, house.sub.key.public_key, Terms(POINTERS, must_staple=True), names=["a.example"], now=NOW)
    for issued in (*house.chain, leaf, make(house.sub, "issuing", now=NOW)[0]):
        shown = describe(issued.certificate)
        assert json.loads(json.dumps(shown)) == shown
        assert shown["serial"] == issued.serial.hex()
        assert shown["sha256"] == issued.fingerprint


def test_description_of_a_leaf(p256: House) -> None:
    """What was asked for is what is shown."""
    terms = Terms(POINTERS, must_staple=True)
    leaf = issue(p256.sub, p256.sub.key.public_key, terms, names=["a.example", "192.0.2.1"], now=NOW)
    shown = describe(leaf.certificate)
    assert shown["names"] == ["a.example", "192.0.2.1"]
    assert (shown["must_staple"], shown["ca"], shown["ocsp_nocheck"]) == (True, False, False)
    assert shown["key_usage"] == ["digitalSignature"]
    assert shown["extended_key_usage"] == ["serverAuth"]
    assert shown["ocsp_url"] == [POINTERS.ocsp_url]
    assert shown["crl_url"] == [POINTERS.crl_url]
    assert shown["key"] == "ECDSA P-256"
    assert shown["not_after"] == "2025-08-30T00:00:00+00:00"


def test_description_of_a_ca_has_the_hashes_of_its_cert_ids(p256: House) -> None:
    """The SHA-1 hashes shown are those a client writes into its question."""
    shown = describe(p256.sub.certificate)
    leaf, _ = make(p256.sub, "issuing", now=NOW)
    asked = ocsp.load_der_ocsp_request(question(leaf.certificate, p256.sub.certificate))
    assert shown["issuer_name_hash_sha1"] == asked.issuer_name_hash.hex()
    assert shown["issuer_key_hash_sha1"] == asked.issuer_key_hash.hex()
    assert (shown["ca"], shown["path_length"]) == (True, 0)


@pytest.mark.parametrize("issued_by_ca", [False, True], ids=["self-signed", "CA-issued"])
@pytest.mark.parametrize("passphrase", [None, b"open sesame"], ids=["plain", "encrypted"])
def test_listener_certificate_in_a_strict_handshake(
    p256: House, tmp_path: Path, issued_by_ca: bool, passphrase: bytes | None
) -> None:
    """TLS 1.3 with a client that trusts only that file (or the root), checks the name and is strict."""
    now = int(time.time())
    authority = p256.sub if issued_by_ca else None
    path = listener_certificate.ensure(tmp_path / "admin.pem", now=now, authority=authority, passphrase=passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path, password=passphrase)
    trusted = (
        p256.chain[0].pem
        if issued_by_ca
        else x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.PEM)
    )
    client = ssl.create_default_context(cadata=trusted.decode())
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("localhost", "127.0.0.1", "::1"):
        assert _shake_hands(server, client, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(server, client, "example.com")


def test_listener_certificate_is_kept_while_it_serves(p256: House, tmp_path: Path) -> None:
    """The same file until 30 days before its end, a new name, open mode, or rubbish."""
    path = tmp_path / "admin.pem"
    first = listener_certificate.ensure(path, now=NOW).read_bytes()
    assert listener_certificate.ensure(path, ["localhost"], now=NOW + 86400).read_bytes() == first
    assert listener_certificate.ensure(path, now=NOW + 367 * 86400).read_bytes() == first
    second = listener_certificate.ensure(path, now=NOW + 367 * 86400 + 1).read_bytes()
    assert second != first
    now = NOW + 368 * 86400
    third = listener_certificate.ensure(path, [*listener_certificate.LOCAL_NAMES, "ca.example"], now=now).read_bytes()
    assert third != second
    path.chmod(0o644)
    fourth = listener_certificate.ensure(path, now=now).read_bytes()
    assert fourth != third
    path.write_bytes(b"rubbish")
    assert listener_certificate.ensure(path, now=now).read_bytes() not in (b"rubbish", fourth)
    SoftKey.load(path)


def test_listener_certificate_lints_clean(p256: House, tmp_path: Path) -> None:
    """Pkilint and openssl accept the self-signed one as a TLS server (`localhost`: docs/pkilint.md)."""
    assert lint_certificate(listener_certificate.make(["admin.example", "::1"], now=NOW)[0].cert_der) == []
    issued, _ = listener_certificate.make(listener_certificate.LOCAL_NAMES, now=NOW)
    (tmp_path / "c.pem").write_bytes(issued.pem)
    openssl("verify", "-attime", str(NOW), "-purpose", "sslserver", "-CAfile", tmp_path / "c.pem", tmp_path / "c.pem")
    with pytest.raises(Refused, match="needs a name"):
        listener_certificate.make([], now=NOW)


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(server, ours))
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=name) as secured:
            return secured.version()
    finally:
        theirs.close()
        thread.join()


def _serve(server: ssl.SSLContext, ours: socket.socket) -> None:
    try:
        server.wrap_socket(ours, server_side=True).close()
    except OSError:
        pass
    finally:
        ours.close()
