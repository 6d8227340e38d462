"""A responder certificate: who signs the answers, and the key that verifies them.

Pure: DER in, values out; never a private key. RFC 6960 4.2.1 (ResponderID), 4.2.2.2 (authorized responders).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from asn1crypto import ocsp

from responder.domain.certificate import key_hash, read_facts, read_public_key
from responder.domain.signature import PublicKey, scheme_of, verifier

_KEY_ID_BYTES = 8


def responder_key_id(cert_der: bytes) -> bytes:
    """Return the 8 bytes by which a compact record names the responder certificate that it was signed under."""
    return hashlib.sha256(cert_der).digest()[:_KEY_ID_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderCertificate:
    """One responder certificate; times are epoch seconds, both ends inclusive."""

    cert_der: bytes = field(repr=False)
    responder: bytes
    key_hash: bytes = field(repr=False)
    subject_der: bytes = field(repr=False)
    not_before: int
    not_after: int
    public_key: PublicKey = field(repr=False, compare=False)
    signature_algorithm: bytes = field(repr=False)
    _verify: Callable[[bytes, bytes], None] = field(repr=False, compare=False)

    @classmethod
    def from_der(cls, cert_der: bytes) -> "ResponderCertificate":
        """The certificate in that DER; ValueError when it does not parse or its key is of no supported kind."""
        facts = read_facts(cert_der)
        public_key = read_public_key(cert_der)
        return cls(
            cert_der=cert_der,
            responder=responder_key_id(cert_der),
            key_hash=key_hash(facts.key_bits),
            subject_der=facts.subject_der,
            not_before=facts.not_before,
            not_after=facts.not_after,
            public_key=public_key,
            signature_algorithm=scheme_of(public_key).algorithm,
            _verify=verifier(public_key),
        )

    def verify(self, signature: bytes, tbs: bytes) -> None:
        """Raise cryptography's InvalidSignature unless this key signed exactly those bytes."""
        self._verify(signature, tbs)

    @property
    def responder_id(self) -> bytes:
        """DER of `byKey [2] KeyHash`, the form RFC 9919 3.2.2 asks for."""
        return bytes(ocsp.ResponderId(name="by_key", value=self.key_hash).dump())
