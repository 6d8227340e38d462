"""Rows of the ledger made of certificates: issuers, and the responders that sign for them.

Every path in (`ca init`, `issuer add`, rotation) makes its rows here, so that the same certificate always becomes the
same row.
"""

from pathlib import Path

from cryptography import x509

from cachewarm.ca.certificate import Issued, moment
from cachewarm.ca.profiles import Pointers
from cachewarm.ledger.issuers import NewIssuer
from cachewarm.ledger.responders import NewResponderCert


def issuer_row(ca: x509.Certificate, urls: Pointers, *, key_path: Path | str | None) -> NewIssuer:
    """Return the row of that CA certificate; the caller adds what only it knows (mode, policy, CRLs).

    `key_path`: the key's file, or its PKCS#11 URI; None when the key is not here.
    """
    made = Issued.of(ca)
    return NewIssuer(
        subject=made.subject,
        cert_der=made.cert_der,
        key_path=None if key_path is None else str(key_path),
        ocsp_url=urls.ocsp_url,
        crl_url=urls.crl_url,
        ca_issuers_url=urls.ca_issuers_url,
    )


def responder_row(made: Issued, key_path: Path) -> NewResponderCert:
    """Return the row of that responder certificate, whose key is in that file."""
    return NewResponderCert(
        cert_subject=made.subject,
        serial_number=made.serial,
        not_before=moment(made.not_before),
        not_after=moment(made.not_after),
        cert_der=made.cert_der,
        key_path=str(key_path),
    )
