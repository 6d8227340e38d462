"""Answers read by an outsider (`cryptography`): status, times, and whether they are signed."""

import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

_KEPT = 20_000


class Read(NamedTuple):
    """As in `history.Asked`; `nonce` is what the answer echoes, `serial` what it is about."""

    says: str
    reason: str = ""
    revoked_at: int = 0
    this_update: int = 0
    next_update: int = 0
    serial: int = 0
    nonce: bytes | None = None


class Reader:
    """Answers of one issuer; equal bodies are read once, which is most of them."""

    def __init__(self, issuer: x509.Certificate) -> None:
        self._issuer = issuer
        self._trusted: dict[bytes, x509.Certificate] = {}
        self._known: dict[bytes, Read] = {}

    def read(self, body: bytes, *, keep: bool) -> Read:
        """What it says; `failed: ...` for an answer that nobody has to believe."""
        known = self._known.get(body)
        if known is None:
            known = self._read(body)
            if keep:
                if len(self._known) > _KEPT:
                    self._known.clear()
                self._known[body] = known
        return known

    def _read(self, body: bytes) -> Read:
        try:
            answer = ocsp.load_der_ocsp_response(body)
            if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                return Read(answer.response_status.name)
            self._require_signature(answer)
        except (ValueError, InvalidSignature) as error:
            return Read(f"failed: {type(error).__name__} {error}")
        revoked = answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
        return Read(
            answer.certificate_status.name.lower(),
            answer.revocation_reason.name if answer.revocation_reason else "",
            _epoch(answer.revocation_time_utc) if revoked else 0,
            _epoch(answer.this_update_utc),
            _epoch(answer.next_update_utc),
            answer.serial_number,
            _nonce(answer),
        )

    def _require_signature(self, answer: ocsp.OCSPResponse) -> None:
        der = answer.certificates[0].public_bytes(Encoding.DER)
        if der not in self._trusted:
            answer.certificates[0].verify_directly_issued_by(self._issuer)
            self._trusted[der] = answer.certificates[0]
        key, algorithm = self._trusted[der].public_key(), answer.signature_hash_algorithm
        if not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None:
            raise ValueError("not the demo's kind of key")
        key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(algorithm))


def _epoch(moment: datetime.datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp())


def _nonce(answer: ocsp.OCSPResponse) -> bytes | None:
    try:
        return answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None
