"""Keys in files: what is written, how, and what is refused on the way back."""

import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cachewarm.errors import Refused
from cachewarm.keys.key_file import write_atomically
from cachewarm.keys.signing_key import SigningKey, sign_parts
from cachewarm.keys.soft_key import KeyKind, SoftKey
from responder.domain.signature import scheme_of, verifier
from tests.support.judges import openssl

PASSPHRASE = b"correct horse battery staple"
ALGORITHMS = {
    KeyKind.P256: "300a06082a8648ce3d040302",
    KeyKind.P384: "300a06082a8648ce3d040303",
    KeyKind.RSA2048: "300d06092a864886f70d01010b0500",
    KeyKind.RSA3072: "300d06092a864886f70d01010b0500",
    KeyKind.RSA4096: "300d06092a864886f70d01010b0500",
    KeyKind.ED25519: "300506032b6570",
}


@pytest.mark.parametrize("kind", KeyKind, ids=str)
def test_every_kind_signs_what_its_public_half_verifies(kind: KeyKind) -> None:
    """A signature holds for its own bytes and for no others, under the algorithm the key names."""
    key: SigningKey = SoftKey.generate(kind)
    verify = verifier(key.public_key)
    signature = key.sign(b"to be signed")
    verify(signature, b"to be signed")
    with pytest.raises(InvalidSignature):
        verify(signature, b"to be signed!")
    assert key.signature_algorithm.hex() == ALGORITHMS[kind]


@pytest.mark.parametrize("kind", KeyKind, ids=str)
def test_parts_are_signed_as_one(kind: KeyKind) -> None:
    """The signature over bytes in pieces is one over all of them; a hash alone is refused by Ed25519."""
    key = SoftKey.generate(kind)
    verifier(key.public_key)(sign_parts(key, [b"to be ", bytearray(b"sig"), b"", b"ned"]), b"to be signed")
    if kind is KeyKind.ED25519:
        with pytest.raises(Refused, match="RFC 8032"):
            key.sign_digest(bytes(32))


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["plain", "encrypted"])
def test_stored_key_comes_back(tmp_path: Path, passphrase: bytes | None) -> None:
    """Load returns the key that was stored, from a file that only its owner reads."""
    path = tmp_path / "keys" / "ca.key"
    key = SoftKey.generate(KeyKind.P256)
    key.store(path, passphrase)
    assert SoftKey.load(path, passphrase).public_key == key.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN FASTOCSP SEALED KEY" if passphrase else b"-----BEGIN PRIVATE KEY")


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["plain", "encrypted"])
@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA2048, KeyKind.ED25519], ids=str)
def test_openssl_reads_the_pem_of_a_key(tmp_path: Path, kind: KeyKind, passphrase: bytes | None) -> None:
    """An encrypted one names 600,000 rounds of PBKDF2 with HMAC-SHA256."""
    path, key = tmp_path / "key.pem", SoftKey.generate(kind)
    path.write_bytes(key.to_pem(passphrase))
    openssl("pkey", "-in", path, "-passin", f"pass:{(passphrase or b'').decode()}", "-noout", "-check")
    assert SoftKey.from_pem(path.read_bytes(), passphrase).public_key == key.public_key
    if passphrase:
        shown = openssl("asn1parse", "-in", path)
        assert "0927C0" in shown
        assert "hmacWithSHA256" in shown


def test_store_replaces_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """The second write takes the place of the first, and the folder holds no temporary file."""
    path = tmp_path / "ca.key"
    SoftKey.generate(KeyKind.P256).store(path)
    second = SoftKey.generate(KeyKind.ED25519)
    second.store(path)
    assert SoftKey.load(path).public_key == second.public_key
    assert [each.name for each in tmp_path.iterdir()] == ["ca.key"]


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses, the old key stands and nothing else does."""
    path = tmp_path / "ca.key"
    write_atomically(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cachewarm.keys.key_file.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["ca.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610])
def test_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Any bit for group or others makes the key unusable, and the sentence says which mode it found."""
    path = tmp_path / "ca.key"
    SoftKey.generate(KeyKind.P256).store(path)
    path.chmod(mode)
    with pytest.raises(Refused, match=f"mode {mode:04o}.*chmod 600"):
        SoftKey.load(path)


def test_missing_key_stays_file_not_found(tmp_path: Path) -> None:
    """The caller tells a missing key from a refused one by its type."""
    with pytest.raises(FileNotFoundError):
        SoftKey.load(tmp_path / "ca.key")


@pytest.mark.parametrize(
    ("passphrase", "sentence"),
    [
        (None, "encrypted and no passphrase is given: set FASTOCSP_CONFIG_ENCRYPTION_KEY"),
        (b"", "encrypted and no passphrase is given"),
        (b"wrong", "passphrase is wrong"),
    ],
)
def test_passphrase_errors_are_sentences(tmp_path: Path, passphrase: bytes | None, sentence: str) -> None:
    """A missing and a wrong passphrase are told apart, and neither is printed."""
    path = tmp_path / "ca.key"
    SoftKey.generate(KeyKind.P256).store(path, PASSPHRASE)
    with pytest.raises(Refused, match=sentence) as caught:
        SoftKey.load(path, passphrase)
    assert "horse" not in str(caught.value)


@pytest.mark.parametrize(
    "octets", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, octets: bytes) -> None:
    """A file with something else in it is one clear sentence."""
    path = tmp_path / "ca.key"
    write_atomically(path, octets)
    with pytest.raises(Refused, match=r"ca\.key cannot be read: it is no private key"):
        SoftKey.load(path)


def test_older_pem_forms_of_other_tools_are_read(tmp_path: Path) -> None:
    """Operators bring `EC PRIVATE KEY` and `RSA PRIVATE KEY` files."""
    for private in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        path = tmp_path / "theirs.key"
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.BestAvailableEncryption(PASSPHRASE),
        )
        write_atomically(path, pem)
        assert SoftKey.load(path, PASSPHRASE).public_key == private.public_key()


def test_passphrase_for_a_plain_key_is_no_error(tmp_path: Path) -> None:
    """An operator's unencrypted key stays usable when a passphrase is set for the others."""
    path = tmp_path / "ca.key"
    SoftKey.generate(KeyKind.P256).store(path)
    assert SoftKey.load(path, PASSPHRASE).public_key is not None


@pytest.mark.parametrize(
    "private",
    [ec.generate_private_key(ec.SECP521R1()), rsa.generate_private_key(65537, 1024)],
    ids=["P-521", "RSA-1024"],
)
def test_weak_and_foreign_keys_are_refused(private: object) -> None:
    """What clients would not take is refused before anything is signed with it."""
    with pytest.raises(Refused, match="do not sign here"):
        SoftKey(private)
    with pytest.raises(ValueError, match="do not sign here"):
        scheme_of(private.public_key())  # type: ignore[attr-defined]


def test_repr_shows_no_secret() -> None:
    """A key in a traceback or a log says its kind alone."""
    assert repr(SoftKey.generate(KeyKind.ED25519)) == "<SoftKey Ed25519PrivateKey>"
