"""What proves a revocation: CRLs and OCSP answers that the issuer or its responder signed, and nothing else."""

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cachewarm.crl.regenerate import regenerate
from cachewarm.crl.sign_and_check import Rules
from cachewarm.errors import Refused
from cachewarm.ledger import crls
from cachewarm.ledger.connect import connect
from cachewarm.ledger.revocations import revoke
from cachewarm.orphans.evidence import read_evidence
from cachewarm.records.keyring import domain_issuer
from cachewarm.signer.decisions import SignerDecisions
from cachewarm.signer.inventory_cache import InventoryCache
from responder.domain.key import Key
from responder.domain.status import CRLReason
from tests.cachewarm.conftest import House
from tests.support.plant import DAY, Plant


async def answer(plant: Plant, number: int) -> bytes:
    """OCSP, signed by the delegated responder."""
    inventory = InventoryCache(lambda: connect(plant.urls.signer))
    decisions = SignerDecisions(plant.feed, inventory, lambda: plant.ring, plant.now, DAY)
    signed = await decisions.answer([Key(1, 2, plant.leaves[number].serial)], None)
    await inventory.close()
    return signed.der


async def test_a_crl_and_an_answer_prove_what_they_list(plant: Plant, p256: House) -> None:
    """With time and reason; DER and PEM. Changed, of another CA, or a good answer: nothing."""
    issuer, serial = domain_issuer(plant.issuer), plant.leaves[0].serial
    await revoke(plant.connection, "ca", serial, reason=CRLReason.keyCompromise, actor="tests")
    await plant.heard(1)
    await regenerate(plant.connection, plant.issuer, None, Rules(validity_s=DAY))
    kept = await crls.read_crl(plant.connection, "ca")
    assert kept is not None
    at = int(
        await plant.connection.fetchval("select floor(extract(epoch from revoked_at)) from certificate_revocations")
    )
    pem = x509.load_der_x509_crl(kept.crl_der).public_bytes(Encoding.PEM)
    told = await answer(plant, 0)
    for document in (kept.crl_der, pem, told):
        assert read_evidence(issuer, document).entries == {serial: (serial, at, 1, None)}
    assert read_evidence(issuer, await answer(plant, 1)).entries == {}
    stranger = replace(issuer, cert_der=p256.chain[1].cert_der)
    for document in (kept.crl_der, told):
        changed = bytearray(document)
        changed[-1 if document is kept.crl_der else document.index(serial) + 3] ^= 1
        for wrong, its_issuer in ((bytes(changed), issuer), (document, stranger), (document[:-1], issuer)):
            with pytest.raises(Refused):
                read_evidence(its_issuer, wrong)
    for rubbish in (b"", b"\x30\x00", b"-----BEGIN X509 CRL-----\n?\n-----END X509 CRL-----\n", plant.issuer.cert_der):
        with pytest.raises(Refused):
            read_evidence(issuer, rubbish)
