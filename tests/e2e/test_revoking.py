"""After the word of the ledger no edge says `good` again."""

import asyncio
import json
import secrets
import time
from pathlib import Path

import asyncpg
import pytest
from cryptography.x509 import ocsp

from tests.support.http import Talk, certificate, openssl_ocsp, post_octets, question
from tests.support.instance import Instance


def spare(instance: Instance) -> Path:
    """A certificate that is good and that no test has had yet."""
    taken = {instance.facts["good_cert"], instance.facts["revoked_cert"]}
    for path in sorted(Path(instance.facts["certs_dir"]).glob("*.pem")):
        mark = path.with_suffix(".taken")
        if str(path) not in taken and not mark.exists() and status_of(instance, path) is ocsp.OCSPCertStatus.GOOD:
            mark.touch()
            return path
    raise AssertionError("no good certificate is left")


def status_of(
    instance: Instance, path: Path, *, nonce: bytes | None = None, talk: Talk | None = None
) -> ocsp.OCSPCertStatus:
    """The certificate's status as one answer has it."""
    octets = post_octets(question(certificate(path), certificate(instance.facts["issuer_cert"]), nonce=nonce))
    if talk is None:
        with Talk(instance.port) as fresh:
            return read_status(fresh.ask(octets)[2])
    return read_status(talk.ask(octets)[2])


def read_status(body: bytes) -> ocsp.OCSPCertStatus:
    """Of a successful answer."""
    answer = ocsp.load_der_ocsp_response(body)
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    return answer.certificate_status


def test_the_next_answer_of_every_worker_is_revoked(instance: Instance) -> None:
    """`revoke --wait` returns CONFIRMED; the next answer on connections to both workers is revoked, nonce or not."""
    path = spare(instance)
    talks = [Talk(instance.port) for _ in range(32)]
    assert all(status_of(instance, path, talk=talk) is ocsp.OCSPCertStatus.GOOD for talk in talks)
    said = json.loads(
        instance.command("revoke", "--cert", str(path), "--reason", "superseded", "--wait", "--json").stdout
    )
    assert said["result"] == "CONFIRMED"
    for number, talk in enumerate(talks):
        nonce = secrets.token_bytes(16) if number % 2 else None
        assert status_of(instance, path, talk=talk, nonce=nonce) is ocsp.OCSPCertStatus.REVOKED
        talk.socket.close()


def test_a_hold_is_released(instance: Instance) -> None:
    """CertificateHold is answered revoked; after `unhold --wait` the certificate is good again."""
    path = spare(instance)
    instance.command("revoke", "--cert", str(path), "--reason", "certificateHold", "--wait")
    assert "Reason: certificateHold" in openssl_ocsp(instance.facts, instance.ocsp_url, path)
    instance.command("unhold", "--serial", path.stem, "--wait")
    assert ": good" in openssl_ocsp(instance.facts, instance.ocsp_url, path)
    assert ": good" in openssl_ocsp(instance.facts, instance.ocsp_url, path, "-no_nonce")


def test_plain_sql_is_heard_too(instance: Instance) -> None:
    """A revocation that somebody typed into psql reaches the edges within the poll interval and the audit chain."""
    path = spare(instance)
    serial = bytes.fromhex(path.stem)

    async def revoke() -> int:
        connection = await asyncpg.connect(instance.facts["database_url"])
        try:
            await connection.execute(
                "insert into certificate_revocations (issuer_id, serial_number, reason) values ('demo', $1, 4)", serial
            )
            count: int = await connection.fetchval("select count(*) from audit_events where serial_number = $1", serial)
            return count
        finally:
            await connection.close()

    assert asyncio.run(revoke()) == 1
    deadline = time.monotonic() + 3
    while status_of(instance, path) is not ocsp.OCSPCertStatus.REVOKED:
        assert time.monotonic() < deadline, "the edge did not hear it"
        time.sleep(0.02)


def test_the_crl_follows(instance: Instance) -> None:
    """A revoked certificate is on the next CRL, which comes by itself."""
    path = spare(instance)
    instance.command("revoke", "--cert", str(path), "--wait")
    deadline = time.monotonic() + 15
    while bytes.fromhex(path.stem) not in fetch_crl(instance):
        assert time.monotonic() < deadline, "no CRL lists it"
        time.sleep(0.1)


def fetch_crl(instance: Instance) -> bytes:
    """The demo CA's CRL."""
    with Talk(instance.port) as talk:
        status, _, body = talk.ask(b"GET /.well-known/pki/crl/demo HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    return body


@pytest.mark.parametrize(
    "words", [("--serial", "zz"), ("--serial", "0123456789"), (), ("--reason", "removeFromCRL", "--serial", "01")]
)
def test_wrong_questions_are_refused_clearly(instance: Instance, words: tuple[str, ...]) -> None:
    """No serial, no such certificate, a reason that is none: one line on standard error, nothing on standard output."""
    done = instance.command("revoke", *words, check=False)
    assert done.returncode in (1, 2)
    assert done.stderr.strip()
    assert done.stdout == ""
