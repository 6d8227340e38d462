"""Which signature each kind of public key makes, and how it is verified.

One row per kind: its AlgorithmIdentifier as DER and its hash. The write side signs by the same rows, so that the two
cannot disagree. Never SHA-1 (RFC 6960 4.3). Knows public keys only.

RFC 5758 3.2 (ECDSA), RFC 4055 5 (RSA, parameters NULL), RFC 8410 3 (Ed25519, parameters absent).
"""

from collections.abc import Callable
from dataclasses import dataclass

from asn1crypto import algos
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
Hash = hashes.SHA256 | hashes.SHA384

MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class SignatureScheme:
    """A signature algorithm: its AlgorithmIdentifier (DER) and the hash it signs; Ed25519 has none."""

    algorithm: bytes
    hash: Hash | None


def _scheme(asn1_name: str, hash_: Hash | None) -> SignatureScheme:
    return SignatureScheme(algos.SignedDigestAlgorithm({"algorithm": asn1_name}).dump(), hash_)


_ECDSA: dict[str, SignatureScheme] = {
    "secp256r1": _scheme("sha256_ecdsa", hashes.SHA256()),
    "secp384r1": _scheme("sha384_ecdsa", hashes.SHA384()),
}
_CURVE_NAMES = {"secp256r1": "ECDSA P-256", "secp384r1": "ECDSA P-384"}
_RSA = _scheme("sha256_rsa", hashes.SHA256())
_ED25519 = _scheme("ed25519", None)


def scheme_of(public_key: object) -> SignatureScheme:
    """Return how keys of this kind sign; ValueError for a kind or a size that is not supported."""
    match public_key:
        case ec.EllipticCurvePublicKey() if public_key.curve.name in _ECDSA:
            return _ECDSA[public_key.curve.name]
        case rsa.RSAPublicKey() if public_key.key_size >= MIN_RSA_BITS:
            return _RSA
        case ed25519.Ed25519PublicKey():
            return _ED25519
        case _:
            raise ValueError(
                f"{key_name(public_key)} keys do not sign here: use P-256, P-384, RSA from 2048 bits, Ed25519"
            )


def key_name(public_key: object) -> str:
    """Return the usual name of this kind of key."""
    match public_key:
        case ec.EllipticCurvePublicKey():
            return _CURVE_NAMES.get(public_key.curve.name, public_key.curve.name)
        case rsa.RSAPublicKey():
            return f"RSA-{public_key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case _:
            return type(public_key).__name__.removesuffix("PublicKey").strip("_")


def verifier(public_key: PublicKey) -> Callable[[bytes, bytes], None]:
    """`verify(signature, tbs)` of that key: returns None or raises cryptography's InvalidSignature."""
    scheme = scheme_of(public_key)
    match public_key:
        case ec.EllipticCurvePublicKey() if scheme.hash:
            ecdsa = ec.ECDSA(scheme.hash)
            return lambda signature, tbs: public_key.verify(signature, tbs, ecdsa)
        case rsa.RSAPublicKey() if scheme.hash:
            hash_ = scheme.hash
            return lambda signature, tbs: public_key.verify(signature, tbs, padding.PKCS1v15(), hash_)
        case ed25519.Ed25519PublicKey():
            return public_key.verify
        case _:
            raise ValueError(f"{key_name(public_key)} keys do not sign here")


#: Hashes of signatures that are accepted from others: without SHA-1 and MD5, for which collisions can be made.
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3_224": hashes.SHA3_224(),
    "sha3_256": hashes.SHA3_256(),
    "sha3_384": hashes.SHA3_384(),
    "sha3_512": hashes.SHA3_512(),
}


def is_signed_by(public_key: object, algorithm: bytes, signature: bytes, tbs: bytes) -> bool:
    """Report whether a signature of another party is right, and its hash neither SHA-1 nor MD5. Never raises.

    `algorithm` is the DER of the AlgorithmIdentifier that the signed object names (RFC 5280 4.1.1.2); it must be one
    that the key allows.
    """
    try:
        return _verify(public_key, algos.SignedDigestAlgorithm.load(algorithm), signature, tbs)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError, KeyError):
        return False


def _verify(key: object, algorithm: algos.SignedDigestAlgorithm, signature: bytes, tbs: bytes) -> bool:
    kind = algorithm.signature_algo
    if kind in ("ed25519", "ed448") and isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        key.verify(signature, tbs)
        return True
    hash_ = _HASHES[algorithm.hash_algo]
    match key:
        case ec.EllipticCurvePublicKey() if kind == "ecdsa":
            key.verify(signature, tbs, ec.ECDSA(hash_))
        case rsa.RSAPublicKey() if kind == "rsassa_pkcs1v15":
            key.verify(signature, tbs, padding.PKCS1v15(), hash_)
        case rsa.RSAPublicKey() if kind == "rsassa_pss":
            salt = algorithm["parameters"]["salt_length"].native
            key.verify(signature, tbs, padding.PSS(padding.MGF1(hash_), salt), hash_)
        case _:
            return False
    return True
