"""Records of every kind of key, under a delegated responder and under the CA itself, as outsiders see them."""

from pathlib import Path

import pytest
from cryptography.x509 import ocsp

from _fastocsp.wire.codes import GOOD, NO_REASON, REVOKED, UNKNOWN
from cachewarm.ca.responder_certificate import make
from cachewarm.errors import Refused
from cachewarm.keys.signing_key import SigningKey
from cachewarm.records.mint import check, mint, mint_answer
from cachewarm.records.statement import Statement, revoked
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.domain.status import CRLReason, HashAlgorithm
from responder.feed.machine import Position
from tests.cachewarm.conftest import NOW, House
from tests.support.judges import lint_certificate, lint_ocsp_response, openssl

SERIAL = bytes.fromhex("8a00112233445566778899aabbccddee")
POSITION = Position(1, 7, b"")
STATEMENTS = {
    "good": Statement(GOOD, NOW, NOW + 3600, POSITION),
    "revoked": revoked(NOW, NOW + 3600, POSITION, NOW - 1000, CRLReason.superseded),
    "revoked without a reason": revoked(NOW, NOW + 3600, POSITION, NOW - 1000, CRLReason.unspecified),
    "unknown": Statement(UNKNOWN, NOW, NOW + 3600, POSITION),
    "never issued": Statement(REVOKED, NOW, NOW + 3600, POSITION, 0, CRLReason.certificateHold, extended_revoke=True),
}


def pair_of(house: House, *, delegated: bool) -> tuple[Issuer, ResponderCertificate, SigningKey]:
    """The root as issuer, and who signs for it: a delegated responder or the root itself."""
    der = house.chain[0].cert_der
    issuer = Issuer.from_certificate(der, issuer_id="root", issuer_no=1)
    if not delegated:
        return issuer, ResponderCertificate.from_der(der), house.root.key
    issued, key = make(house.root, "root", now=NOW)
    return issuer, ResponderCertificate.from_der(issued.cert_der), key


@pytest.mark.parametrize("delegated", [True, False], ids=["delegated", "CA key"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_outsiders_find_nothing(house: House, name: str, delegated: bool, tmp_path: Path) -> None:
    """Pkilint finds nothing at WARNING or above, openssl verifies, cryptography reads what was stated."""
    issuer, responder, key = pair_of(house, delegated=delegated)
    statement = STATEMENTS[name]
    template = templates(issuer, responder)[HashAlgorithm.SHA256]
    record = mint(statement, SERIAL, template, key, NOW)
    check(record, SERIAL, template, responder)
    der = template.encode(SERIAL, record)
    assert lint_ocsp_response(der) == []
    assert lint_certificate(responder.cert_der) == []
    (tmp_path / "ca.pem").write_bytes(house.chain[0].pem)
    (tmp_path / "answer.der").write_bytes(der)
    options = ["-respin", "answer.der", "-CAfile", "ca.pem", "-attime", str(NOW), "-verify_other", "ca.pem"]
    assert "Response verify OK" in openssl("ocsp", *options, cwd=tmp_path)
    response = ocsp.load_der_ocsp_response(der)
    assert response.certificate_status.name == {GOOD: "GOOD", REVOKED: "REVOKED", UNKNOWN: "UNKNOWN"}[statement.status]
    assert response.revocation_reason is None if statement.reason in (NO_REASON, 0) else response.revocation_reason
    assert bool(response.certificates) == delegated


def test_an_answer_with_a_nonce_states_its_records(house: House) -> None:
    """The records beside a whole answer say what the answer says, for the gate."""
    issuer, responder, key = pair_of(house, delegated=True)
    template = templates(issuer, responder)[HashAlgorithm.SHA1]
    stated = [(STATEMENTS["good"], SERIAL, template), (STATEMENTS["revoked"], b"\x01", template)]
    der, records = mint_answer(stated, key, NOW, b"n" * 16)
    assert lint_ocsp_response(der) == []
    response = ocsp.load_der_ocsp_response(der)
    assert [each.certificate_status.name for each in response.responses] == ["GOOD", "REVOKED"]
    assert len(records) == 2


def test_a_record_of_the_wrong_key_is_not_published(p256: House) -> None:
    """The check refuses what does not verify, or belongs to another serial."""
    issuer, responder, key = pair_of(p256, delegated=True)
    _, other, _ = pair_of(p256, delegated=True)
    template = templates(issuer, responder)[HashAlgorithm.SHA1]
    record = mint(STATEMENTS["good"], SERIAL, template, key, NOW)
    for serial, certificate in ((b"\x02", responder), (SERIAL, other)):
        with pytest.raises(Refused):
            check(record, serial, template, certificate)
