"""A signing key in a file of mode 0600: sealed when there is a passphrase (envelope.py), else PKCS#8 PEM.

RFC 5958 (PKCS#8), RFC 7468 (PEM). Reading also takes encrypted PKCS#8 and the older PEM forms that operators have of
other tools; `fastocsp keys rewrap` brings them into today's form.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from asn1crypto import keys as asn1_keys
from asn1crypto import pem as asn1_pem
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cachewarm.errors import Refused
from cachewarm.keys.envelope import is_sealed, open_sealed, seal
from cachewarm.keys.key_file import read_secret, write_atomically
from cachewarm.keys.key_kind import KeyKind as KeyKind  # noqa: PLC0414 - whoever makes keys names their kind
from cachewarm.keys.pkcs8 import encrypted_pem
from responder.domain.signature import Hash, PublicKey, SignatureScheme, scheme_of

_ENCRYPTED_HINT = "set FASTOCSP_CONFIG_ENCRYPTION_KEY"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class SoftKey:
    """A private key in this process's memory; safe to use from several threads."""

    def __init__(self, private_key: object) -> None:
        if not isinstance(private_key, PrivateKey):
            raise Refused(f"a {type(private_key).__name__} cannot sign here: use P-256, P-384, RSA or Ed25519")
        self._private_key = private_key
        self._public_key: PublicKey = private_key.public_key()
        self._scheme = _checked_scheme(self._public_key)
        #: Signature over those bytes: the library's own call, without a line of Python around it.
        self.sign = _signer(private_key, self._scheme.hash)
        self._sign_digest = _signer(private_key, Prehashed(self._scheme.hash)) if self._scheme.hash else None

    @classmethod
    def generate(cls, kind: KeyKind) -> "SoftKey":
        """Return a new key of that kind."""
        return cls(_GENERATE[kind]())

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None = None, *, name: str = "the key") -> "SoftKey":
        """The key of a PEM text; a passphrase that is not needed is not an error. Refused in one sentence otherwise."""
        if _is_pss(pem):
            raise Refused(f"{name} is for RSASSA-PSS signatures alone (id-RSASSA-PSS), which are not made here")
        try:
            return cls(_parse(pem, passphrase))
        except TypeError as error:
            raise Refused(f"{name} is encrypted and no passphrase is given: {_ENCRYPTED_HINT}") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            why = "the passphrase is wrong" if _is_encrypted(pem) and passphrase else "it is no private key in PEM form"
            raise Refused(f"{name} cannot be read: {why}") from error

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> "SoftKey":
        """The key of a file; FileNotFoundError when there is none, Refused for its mode, its passphrase or its form."""
        text = read_secret(path)
        if not is_sealed(text):
            return cls.from_pem(text, passphrase, name=str(path))
        if not passphrase:
            raise Refused(f"{path} is encrypted and no passphrase is given: {_ENCRYPTED_HINT}")
        return cls(serialization.load_der_private_key(open_sealed(text, passphrase, path), None))

    def store(self, path: Path, passphrase: bytes | None = None) -> None:
        """Replace the file, mode 0600, sealed when a passphrase is given."""
        write_atomically(path, self.file_content(path, passphrase))

    def file_content(self, path: Path, passphrase: bytes | None) -> bytes:
        """Return the content that `store` writes; with a passphrase it can be opened under that file name only."""
        return seal(self._pkcs8(), passphrase, path) if passphrase else self.to_pem()

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """PKCS#8 PEM, for other programs; encrypted when a passphrase is given."""
        if passphrase:
            return encrypted_pem(self._pkcs8(), passphrase)
        return self._private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _pkcs8(self) -> bytes:
        return self._private_key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public_key(self) -> PublicKey:
        """Public half of the key."""
        return self._public_key

    @property
    def signature_algorithm(self) -> bytes:
        """DER of the AlgorithmIdentifier of its signatures."""
        return self._scheme.algorithm

    def sign_digest(self, digest: bytes) -> bytes:
        """The same signature, given the hash of the bytes."""
        if self._sign_digest is None:
            raise Refused("an Ed25519 key signs octets, not their hash (RFC 8032)")
        return self._sign_digest(digest)

    def __repr__(self) -> str:
        return f"<SoftKey {type(self._private_key).__name__}>"


_GENERATE: dict[KeyKind, Callable[[], PrivateKey]] = {
    KeyKind.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyKind.P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyKind.RSA2048: lambda: rsa.generate_private_key(65537, 2048),
    KeyKind.RSA3072: lambda: rsa.generate_private_key(65537, 3072),
    KeyKind.RSA4096: lambda: rsa.generate_private_key(65537, 4096),
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.generate,
}


def _parse(pem: bytes, passphrase: bytes | None) -> object:
    return serialization.load_pem_private_key(pem, (passphrase or None) if _is_encrypted(pem) else None)


def _is_pss(pem: bytes) -> bool:
    """Return whether an unencrypted PKCS#8 key says that it is for RSASSA-PSS; the library loads it as any RSA key."""
    try:
        _, _, der = asn1_pem.unarmor(pem)
        return bool(asn1_keys.PrivateKeyInfo.load(der)["private_key_algorithm"]["algorithm"].native == "rsassa_pss")
    except (ValueError, TypeError, KeyError):
        return False


def _is_encrypted(pem: bytes) -> bool:
    """Both PKCS#8's label and the header of the older PEM forms hold that word."""
    return b"ENCRYPTED" in pem


def _checked_scheme(public_key: PublicKey) -> SignatureScheme:
    try:
        return scheme_of(public_key)
    except ValueError as error:
        raise Refused(str(error)) from error


def _signer(key: PrivateKey, hash_: Hash | Prehashed | None) -> Callable[[bytes], bytes]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    if hash_ is None:
        raise Refused("this key has no hash to sign with")
    if isinstance(key, rsa.RSAPrivateKey):
        return partial(key.sign, padding=padding.PKCS1v15(), algorithm=hash_)
    return partial(key.sign, signature_algorithm=ec.ECDSA(hash_))
