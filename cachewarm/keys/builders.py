"""Certificates by cryptography's builders, signed by any SigningKey.

The builders ask for one of cryptography's own private keys and then only call its `sign`. The three faces below are
registered as such keys and pass the TBS on, so that a key in an HSM signs certificates as well; the private half never
comes here.
"""

from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from cachewarm.keys.signing_key import SigningKey
from responder.domain.signature import PublicKey, scheme_of


class _Face:
    """The part of a private key that a builder uses."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def public_key(self) -> PublicKey:
        return self._key.public_key

    def sign(self, tbs: bytes, *_algorithm: object) -> bytes:
        return self._key.sign(tbs)


class _ECFace(_Face):
    @property
    def curve(self) -> ec.EllipticCurve:
        return cast("ec.EllipticCurvePublicKey", self._key.public_key).curve


class _RSAFace(_Face):
    pass


class _Ed25519Face(_Face):
    pass


ec.EllipticCurvePrivateKey.register(_ECFace)
rsa.RSAPrivateKey.register(_RSAFace)
ed25519.Ed25519PrivateKey.register(_Ed25519Face)


def sign_certificate(builder: x509.CertificateBuilder, key: SigningKey) -> x509.Certificate:
    """The certificate, signed with the algorithm of that key."""
    return builder.sign(_face(key), scheme_of(key.public_key).hash)


def sign_request(builder: x509.CertificateSigningRequestBuilder, key: SigningKey) -> x509.CertificateSigningRequest:
    """The certification request, signed by the key it asks for."""
    return builder.sign(_face(key), scheme_of(key.public_key).hash)


def _face(key: SigningKey) -> Any:
    match key.public_key:
        case ec.EllipticCurvePublicKey():
            return _ECFace(key)
        case rsa.RSAPublicKey():
            return _RSAFace(key)
        case _:
            return _Ed25519Face(key)
