"""Private keys that stay in a PKCS#11 token (an HSM, SoftHSM): found or generated there, and used there (token.py)."""

import os
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import Hash
from cryptography.hazmat.primitives.serialization import load_der_public_key

from cachewarm.errors import Refused
from cachewarm.keys.signing_key import SigningKey
from cachewarm.keys.soft_key import KeyKind
from cachewarm.keys.token import TokenSession, token_of
from cachewarm.keys.token_uri import TokenURI, parse_token_uri
from responder.domain.signature import PublicKey, SignatureScheme, scheme_of, verifier

#: DigestInfo of SHA-256 up to the digest (RFC 8017 9.2).
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
_CURVES = {KeyKind.P256: "secp256r1", KeyKind.P384: "secp384r1"}
#: PrintableString edwards25519 (PKCS#11 3.0, 2.3.10).
_EDWARDS25519 = b"\x13\x0cedwards25519"
_BITS = {KeyKind.RSA2048: 2048, KeyKind.RSA3072: 3072, KeyKind.RSA4096: 4096}
_PROBE = b"fastocsp: does this private key belong to its public key?"


class TokenKey:
    """A private key in a token; it signs there and never leaves it."""

    def __init__(self, uri: TokenURI, public_key: PublicKey) -> None:
        self._uri, self._public_key = uri, public_key
        try:
            self._scheme: SignatureScheme = scheme_of(public_key)
        except ValueError as error:
            raise Refused(f"{uri.text}: {error}") from error

    @classmethod
    def open(cls, reference: str) -> "TokenKey":
        """Return the key of a URI, after it has signed once for its public half. Refused when there is none."""
        uri = parse_token_uri(reference)
        public_key = token_of(uri).use(lambda session: _public_key(session, uri))
        if public_key is None:
            raise Refused(f"{uri.text}: the token has no such key")
        key = cls(uri, public_key)
        try:
            verifier(public_key)(key.sign(_PROBE), _PROBE)
        except InvalidSignature as error:
            raise Refused(f"{uri.text}: the private and the public key of that name are no pair") from error
        return key

    @classmethod
    def generate(cls, reference: str, kind: KeyKind) -> "TokenKey":
        """Make a key in the token that cannot be taken out of it; Refused when there is one of that name."""
        uri = parse_token_uri(reference)
        if uri.label is None:
            raise Refused(f"{uri.text}: a new key needs a label: write object=LABEL")
        token = token_of(uri)
        if token.use(lambda session: _public_key(session, uri)) is not None:
            raise Refused(f"{uri.text}: the token has a key of that name already; to use it, say --existing-key")
        token.use(lambda session: _generate(session, uri, kind), write=True)
        return cls.open(reference)

    @property
    def public_key(self) -> PublicKey:
        """Public half of the key."""
        return self._public_key

    @property
    def signature_algorithm(self) -> bytes:
        """DER of the AlgorithmIdentifier of its signatures."""
        return self._scheme.algorithm

    def sign(self, tbs: bytes) -> bytes:
        """Signature over those bytes; Transient when the token cannot be reached."""
        if self._scheme.hash is None:
            from pkcs11 import Mechanism

            return self._signed(tbs, Mechanism.EDDSA)
        digest = Hash(self._scheme.hash)
        digest.update(tbs)
        return self.sign_digest(digest.finalize())

    def sign_digest(self, digest: bytes) -> bytes:
        """The same signature, given the hash of the bytes; Refused by an Ed25519 key (RFC 8032)."""
        from pkcs11 import Mechanism

        match self._public_key:
            case ec.EllipticCurvePublicKey():
                pair = self._signed(digest, Mechanism.ECDSA)
                half = len(pair) // 2
                return encode_dss_signature(int.from_bytes(pair[:half]), int.from_bytes(pair[half:]))
            case rsa.RSAPublicKey():
                return self._signed(_SHA256_INFO + digest, Mechanism.RSA_PKCS)
            case _:
                raise Refused("an Ed25519 key signs bytes, not their hash (RFC 8032)")

    def _signed(self, octets: bytes, mechanism: Any) -> bytes:
        def work(lent: TokenSession) -> bytes:
            return bytes(_private_key(lent, self._uri).sign(octets, mechanism=mechanism))

        return token_of(self._uri).use(work)

    def __repr__(self) -> str:
        return f"<TokenKey {self._uri.text}>"


def _private_key(lent: TokenSession, uri: TokenURI) -> Any:
    from pkcs11 import ObjectClass
    from pkcs11.exceptions import MultipleObjectsReturned, NoSuchKey

    known = lent.private_keys.get((uri.label, uri.key_id))
    if known is not None:
        return known
    try:
        found = lent.session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=uri.label, id=uri.key_id)
    except NoSuchKey as error:
        raise Refused(f"{uri.text}: the token has no such private key") from error
    except MultipleObjectsReturned as error:
        raise Refused(f"{uri.text}: more than one key is called that: name its id") from error
    lent.private_keys[uri.label, uri.key_id] = found
    return found


def _public_key(lent: TokenSession, uri: TokenURI) -> PublicKey | None:
    """Return the public key of that name; None when there is none."""
    from pkcs11 import ObjectClass
    from pkcs11.exceptions import MultipleObjectsReturned, NoSuchKey

    try:
        found = lent.session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=uri.label, id=uri.key_id)
    except NoSuchKey:
        return None
    except MultipleObjectsReturned as error:
        raise Refused(f"{uri.text}: more than one key is called that: name its id") from error
    try:
        return _loaded(found)
    except ValueError as error:
        raise Refused(f"{uri.text}: its public key cannot be read: {error}") from error


def _loaded(found: Any) -> PublicKey:
    """Return a public key object of the token as one of cryptography's; ValueError for a kind that does not sign."""
    from pkcs11 import Attribute, KeyType
    from pkcs11.util.ec import encode_ec_public_key

    match found.key_type:
        case KeyType.RSA:
            exponent, modulus = found[Attribute.PUBLIC_EXPONENT], found[Attribute.MODULUS]
            return rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
        case KeyType.EC:
            loaded = load_der_public_key(encode_ec_public_key(found))
            assert isinstance(loaded, ec.EllipticCurvePublicKey)
            return loaded
        case KeyType.EC_EDWARDS:  # CKA_EC_POINT is the key in an OCTET STRING, or bare (PKCS#11 3.0, 2.3.5)
            return ed25519.Ed25519PublicKey.from_public_bytes(bytes(found[Attribute.EC_POINT])[-32:])
    raise ValueError(f"a key of type {found.key_type.name} does not sign here")


def _generate(lent: TokenSession, uri: TokenURI, kind: KeyKind) -> None:
    from pkcs11 import Attribute, KeyType, MechanismFlag
    from pkcs11.util.ec import encode_named_curve_parameters

    session = lent.session
    common: dict[str, Any] = {
        "id": uri.key_id or os.urandom(16),
        "label": uri.label,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
    }
    if kind in _BITS:
        session.generate_keypair(KeyType.RSA, _BITS[kind], **common)
        return
    if kind is KeyKind.ED25519:
        family, curve = KeyType.EC_EDWARDS, _EDWARDS25519
    else:
        family, curve = KeyType.EC, encode_named_curve_parameters(_CURVES[kind])
    parameters = {Attribute.EC_PARAMS: curve}
    session.create_domain_parameters(family, parameters, local=True).generate_keypair(**common)


@cache
def is_supported() -> bool:
    """Return whether the library for tokens is installed (the extra `hsm`)."""
    try:
        import pkcs11  # noqa: F401
    except ImportError:
        return False
    return True


def load_token_key(reference: str) -> SigningKey:
    """Return the key of a URI; Refused when the extra `hsm` is not installed."""
    _require_library(reference)
    return TokenKey.open(reference)


def new_token_key(reference: str, kind: KeyKind) -> SigningKey:
    """Return a key that is generated in the token. Refused when the token has one of that name."""
    _require_library(reference)
    return TokenKey.generate(reference, kind)


def existing_token_key(reference: str, kind: KeyKind | None) -> SigningKey:
    """Return the key that the token has. Refused when it has none of that name, or one of another kind than `kind`."""
    key = load_token_key(reference)
    if kind is not None and kind_of(key.public_key) != kind:
        found = kind_of(key.public_key) or "a kind that is not made here"
        raise Refused(f"{reference}: the key in the token is {found}, not {kind}")
    return key


def kind_of(public_key: PublicKey) -> KeyKind | None:
    """Return the kind of a key, None for one that is not made here (RSA with 8192 bits, for example)."""
    match public_key:
        case ec.EllipticCurvePublicKey():
            return next((kind for kind, curve in _CURVES.items() if curve == public_key.curve.name), None)
        case rsa.RSAPublicKey():
            return next((kind for kind, bits in _BITS.items() if bits == public_key.key_size), None)
        case _:
            return KeyKind.ED25519


def _require_library(reference: str) -> None:
    if not is_supported():
        raise Refused(f"{reference}: keys in tokens need the extra: pip install 'fastocsp[hsm]'")
