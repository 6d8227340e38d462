"""Keys in a token, with SoftHSM: what they sign, what cannot be taken out, and what happens when the token is away."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pkcs11
import pytest
from cryptography.exceptions import InvalidSignature

from cachewarm.errors import Refused, Transient
from cachewarm.keys import token as token_module
from cachewarm.keys.pkcs11_key import TokenKey, new_token_key
from cachewarm.keys.signing_key import sign_parts
from cachewarm.keys.soft_key import KeyKind
from cachewarm.keys.token import Token, TokenSession, module_of, token_of
from cachewarm.keys.token_uri import parse_token_uri
from responder.domain.signature import verifier
from tests.support.softhsm import PIN, SoftHSM


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHSM]:
    """A store with the token `main`, for this process."""
    made = SoftHSM(tmp_path_factory.mktemp("softhsm"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environ.items():
            patch.setenv(name, value)
        made.add_token("main")
        yield made
    token_module._tokens.clear()


def forget(store: SoftHSM) -> None:
    """As a new process would begin."""
    token_module._tokens.clear()
    module_of.cache_clear()
    pkcs11.lib(str(store.module)).reinitialize()


@pytest.fixture(autouse=True)
def again(store: SoftHSM) -> Iterator[None]:
    """Every test begins and ends with the right PIN and without sessions."""
    yield
    store.pin_file.write_text(PIN + "\n")
    forget(store)


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA2048, KeyKind.ED25519], ids=str)
def test_every_kind_is_generated_in_the_token_and_signs(store: SoftHSM, kind: KeyKind) -> None:
    """What it signs its public half verifies, in one piece and in parts; opened again it is the same key."""
    uri = store.uri("main", f"kind {kind}")
    key = TokenKey.generate(uri, kind)
    verify = verifier(key.public_key)
    signature = key.sign(b"to be signed")
    verify(signature, b"to be signed")
    with pytest.raises(InvalidSignature):
        verify(signature, b"to be signed!")
    verify(sign_parts(key, [b"to be ", bytearray(b"signed")]), b"to be signed")
    assert TokenKey.open(uri).public_key == key.public_key
    with pytest.raises(Refused, match="a key of that name already"):
        TokenKey.generate(uri, kind)


def test_generated_key_cannot_be_taken_out(store: SoftHSM) -> None:
    """The token says so, and refuses to show it."""
    uri = parse_token_uri(store.uri("main", "kept"))
    TokenKey.generate(uri.text, KeyKind.P256)

    def look(lent: TokenSession) -> None:
        found = lent.session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label="kept")
        assert found[pkcs11.Attribute.SENSITIVE]
        assert not found[pkcs11.Attribute.EXTRACTABLE]
        assert found[pkcs11.Attribute.NEVER_EXTRACTABLE]
        with pytest.raises(pkcs11.AttributeSensitive):
            found[pkcs11.Attribute.VALUE]

    token_of(uri).use(look)


def test_threads_wait_for_each_other(store: SoftHSM) -> None:
    """The library is for one thread at a time: with two inside, the process crashed."""
    key = new_token_key(store.uri("main", "shared"), KeyKind.P256)
    signatures: list[bytes] = []

    def sign() -> None:
        signatures.extend(key.sign(b"x") for _ in range(50))

    threads = [threading.Thread(target=sign) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert len(signatures) == 16 * 50
    verify = verifier(key.public_key)
    for signature in signatures:
        verify(signature, b"x")


def test_call_that_does_not_end_is_waited_for_a_bounded_time(store: SoftHSM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is a failure that is tried again later."""
    monkeypatch.setattr(token_module, "WAIT_S", 0.05)
    uri = parse_token_uri(store.uri("main", "busy"))
    with module_of(str(uri.module))._inside, pytest.raises(Transient, match="has not ended for"):
        token_of(uri).use(lambda session: session)


def test_token_that_vanishes_works_again_when_it_is_back(store: SoftHSM) -> None:
    """Without it every signature is a transient failure, however often; the same object signs afterwards."""
    key = new_token_key(store.uri("main", "vanishing"), KeyKind.P256)
    away = store.tokens.rename(store.folder / "away")
    store.tokens.mkdir()
    pkcs11.lib(str(store.module)).reinitialize()
    for _ in range(3):
        with pytest.raises(Transient, match="the token cannot be used"):
            key.sign(b"x")
    store.tokens.rmdir()
    away.rename(store.tokens)
    verifier(key.public_key)(key.sign(b"x"), b"x")


def test_wrong_pin_is_tried_once(store: SoftHSM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token would lock itself. With another text in the file it is tried again."""
    uri = store.uri("main", "pin")
    new_token_key(uri, KeyKind.P256)
    forget(store)
    store.pin_file.write_text("wrong\n")
    tried = []
    real = Token._logged_in

    def counting(self: Token, library: object) -> object:
        tried.append(self._refused_pin)
        return real(self, library)

    monkeypatch.setattr(Token, "_logged_in", counting)
    with pytest.raises(Refused, match="the token refused the PIN of"):
        TokenKey.open(uri)
    for _ in range(5):
        with pytest.raises(Refused, match="not tried again until it changes"):
            TokenKey.open(uri)
    assert tried[0] is None
    assert None not in tried[1:]
    store.pin_file.write_text(PIN)
    TokenKey.open(uri)


def test_what_is_not_there_is_a_sentence(store: SoftHSM, tmp_path: Path) -> None:
    """No such key, token, library or PIN file."""
    with pytest.raises(Refused, match="the token has no such key"):
        TokenKey.open(store.uri("main", "nobody"))
    with pytest.raises(Transient, match="no such token"):
        TokenKey.open(store.uri("elsewhere", "nobody"))
    uri = store.uri("main", "nobody")
    with pytest.raises(Transient, match="the token cannot be used"):
        TokenKey.open(uri.replace(str(store.module), str(tmp_path / "none.so")))
    with pytest.raises(Refused, match="the PIN cannot be read"):
        TokenKey.open(uri.replace(str(store.pin_file), str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("file:/etc/key", "no PKCS#11 URI"),
        ("pkcs11:object=a?module-path=/m&pin-source=/p", "names no token"),
        ("pkcs11:token=a?module-path=/m&pin-source=/p", "names no key"),
        ("pkcs11:token=a;object=b?pin-source=/p", "lacks module-path"),
        ("pkcs11:token=a;object=b?module-path=/m", "lacks pin-source"),
        ("pkcs11:token=a;object=b?module-path=/m&pin-value=1234", "a PIN in it is refused"),
        ("pkcs11:token=a;object=b?module-path=/m&pin-source=|cat /p", "not from a command"),
        ("pkcs11:token=a;object=b;type=public?module-path=/m&pin-source=/p", "no private key"),
        ("pkcs11:token=a;token=b;object=b?module-path=/m&pin-source=/p", "'token' is not understood"),
        ("pkcs11:token=a;object=b;x-y=1?module-path=/m&pin-source=/p", "'x-y' is not understood"),
    ],
)
def test_uri_that_does_not_name_a_key_is_refused(uri: str, sentence: str) -> None:
    """And a PIN in one is not repeated."""
    with pytest.raises(Refused, match=sentence) as caught:
        parse_token_uri(uri)
    assert "1234" not in str(caught.value)


def test_uri_is_percent_decoded() -> None:
    """RFC 7512 2.3; an id is bytes."""
    uri = parse_token_uri("pkcs11:token=My%20token;id=%00%ff?module-path=/m%20n&pin-source=file:///run/pin")
    assert (uri.token, uri.key_id, str(uri.module), uri.pin_source) == ("My token", b"\x00\xff", "/m n", "/run/pin")


def test_pin_may_be_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of systemd, by its name."""
    (tmp_path / "hsm-pin").write_text("4321\n")
    uri = parse_token_uri("pkcs11:token=a;object=b?module-path=/m&pin-source=credential:hsm-pin")
    with pytest.raises(Refused, match="passed no credentials"):
        uri.pin()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert uri.pin() == "4321"
