"""Sealed key files: what opens them, what does not, and how often the slow derivation runs."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from cachewarm.errors import Refused
from cachewarm.keys import envelope
from cachewarm.keys.envelope import is_current, is_sealed, open_sealed, seal
from cachewarm.keys.key_file import write_atomically

PASSPHRASE = b"correct horse battery staple"


def stored(path: Path, secret: bytes = b"secret", passphrase: bytes = PASSPHRASE) -> Path:
    """Seal a secret into that file."""
    write_atomically(path, seal(secret, passphrase, path))
    return path


def test_sealed_file_is_what_its_description_says(tmp_path: Path) -> None:
    """The bytes are taken apart here by hand: version, 600,000 rounds, two salts, nonce; the name is authenticated."""
    path = stored(tmp_path / "ca-demo.key")
    octets = base64.b64decode(b"".join(path.read_bytes().split(b"\n")[1:-2]))
    assert octets[:5] == b"\x01" + (600_000).to_bytes(4, "big")
    head, folder_salt, file_salt, nonce = octets[:37], octets[5:21], octets[21:37], octets[37:49]
    derived = PBKDF2HMAC(hashes.SHA256(), 32, folder_salt, 600_000).derive(PASSPHRASE)
    key = HKDF(hashes.SHA256(), 32, salt=file_salt, info=b"fastocsp sealed key 1").derive(derived)
    assert AESGCM(key).decrypt(nonce, octets[49:], head + b"ca-demo.key") == b"secret"


def test_keys_of_a_folder_cost_one_derivation(tmp_path: Path) -> None:
    """They share the folder's salt and nothing else; a folder that was moved opens as before."""
    paths = [stored(tmp_path / "keys" / f"{number}.key", b"%d" % number) for number in range(20)]
    envelope._folder_key.cache_clear()
    moved = (tmp_path / "keys").rename(tmp_path / "elsewhere")
    for number, path in enumerate(moved / path.name for path in paths):
        assert open_sealed(path.read_bytes(), PASSPHRASE, path) == b"%d" % number
        assert is_current(path.read_bytes(), path)
    assert envelope._folder_key.cache_info().misses == 1
    assert len({path.read_bytes() for path in moved.iterdir()}) == 20


def test_key_copied_over_the_name_of_another_one_does_not_open(tmp_path: Path) -> None:
    """Somebody who may write the folder cannot make one issuer sign with the key of another."""
    first, second = stored(tmp_path / "ca-a.key", b"a"), stored(tmp_path / "ca-b.key", b"b")
    second.write_bytes(first.read_bytes())
    with pytest.raises(Refused, match=r"ca-b\.key cannot be opened: .*renamed"):
        open_sealed(second.read_bytes(), PASSPHRASE, second)


def test_wrong_passphrase_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    """And does not say the passphrase."""
    path = stored(tmp_path / "ca.key")
    with pytest.raises(Refused, match=r"ca\.key cannot be opened: the passphrase is wrong") as caught:
        open_sealed(path.read_bytes(), b"another", path)
    assert "another" not in str(caught.value).replace("another one", "")


def test_no_damaged_file_opens_or_raises_anything_but_refused(tmp_path: Path) -> None:
    """Every prefix, bytes changed, other versions, iterations that would take for ever.

    Another salt of the folder or another number of iterations costs a derivation each, so they are not all tried.
    """
    path = stored(tmp_path / "ca.key")
    text = path.read_bytes()
    begin, *body, end, _ = text.split(b"\n")
    octets = base64.b64decode(b"".join(body))
    places = [0, 5, *range(21, len(octets))]
    damaged = [octets[:length] for length in range(len(octets))]
    damaged += [octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :] for place in places]
    damaged += [octets[:1] + iterations + octets[5:] for iterations in (b"\xff" * 4, bytes(4), b"\x00\x00\x00\x01")]
    texts = [begin + b"\n" + base64.b64encode(each) + b"\n" + end + b"\n" for each in damaged]
    texts += [text[:40], text[:40] + b"\xff" * 40, begin + text.removeprefix(begin).replace(b"A", b"\x00")]
    for wrong in texts:
        assert is_sealed(wrong)
        with pytest.raises(Refused, match=r"ca\.key"):
            open_sealed(wrong, PASSPHRASE, path)
