"""PKCS#11 tokens (an HSM, SoftHSM) as this process uses them: one call at a time, through one session each.

OASIS PKCS#11 2.40. One `Token` per module, token and PIN source in a process. The binding initializes a library for one
thread (C_Initialize without arguments), and SoftHSM crashes when two are inside: callers wait for each other, a bounded
time. After an error of token or session the library is initialized again by the next caller, so a token that was away
works again without a restart. A PIN that the token refused is not tried again until its file has another text: the
token would lock itself.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from cachewarm.errors import Refused, Transient
from cachewarm.keys.token_uri import TokenURI

#: Seconds that a caller waits for another one's call to end.
WAIT_S = 5.0
T = TypeVar("T")


@dataclass
class TokenSession:
    """A session of the library, and the private keys that it has found, by label and id."""

    session: Any
    private_keys: dict[tuple[str | None, bytes | None], Any] = field(default_factory=dict)


class Module:
    """A token's library, loaded once. One call at a time is inside of it: it is initialized for one thread, and it is
    initialized again after an error.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._inside = threading.Lock()
        self._is_broken = False
        #: Sessions of an earlier round are gone.
        self.round = 0

    @contextmanager
    def entered(self) -> Iterator[Any]:
        """Lend the library. Transient when another call inside of it does not end."""
        import pkcs11

        if not self._inside.acquire(timeout=WAIT_S):
            raise Transient(f"{self._path}: another call into the token has not ended for {WAIT_S:.0f} s")
        try:
            library = pkcs11.lib(self._path)
            if self._is_broken:
                library.reinitialize()
                self._is_broken = False
                self.round += 1
            yield library
        except (pkcs11.exceptions.PKCS11Error, RuntimeError):
            self._is_broken = True
            raise
        finally:
            self._inside.release()


class Token:
    """One token, as this process uses it; safe for threads."""

    def __init__(self, uri: TokenURI) -> None:
        self._uri, self._module = uri, module_of(str(uri.module))
        self._session: TokenSession | None = None
        self._round = -1
        self._refused_pin: bytes | None = None

    def use(self, work: Callable[[TokenSession], T], *, write: bool = False) -> T:
        """Return what `work` returns for a session. Transient: the token is away or busy; Refused: PIN, module."""
        with self._translated(), self._module.entered() as library:
            session = self._logged_in(library)
            if not write:
                return work(session)
            with self._token(library).open(rw=True) as writing:  # it did not log in, so its end logs out nobody
                return work(TokenSession(writing))

    def _token(self, library: Any) -> Any:
        serial = None if self._uri.serial is None else self._uri.serial.encode()
        return library.get_token(token_label=self._uri.token, token_serial=serial)

    def _logged_in(self, library: Any) -> TokenSession:
        """Return the session of this round, which logged in: the login is the whole process's."""
        from pkcs11.exceptions import PinIncorrect, PinInvalid, PinLenRange, UserAlreadyLoggedIn

        if self._session is not None and self._round == self._module.round:
            return self._session
        pin = self._uri.pin()
        digest = hashlib.sha256(pin.encode()).digest()
        if digest == self._refused_pin:
            raise Refused(f"{self._uri.text}: the token refused this PIN; it is not tried again until it changes")
        token = self._token(library)
        try:
            session = token.open(user_pin=pin)
        except UserAlreadyLoggedIn:
            session = token.open()
        except (PinIncorrect, PinInvalid, PinLenRange) as error:
            self._refused_pin = digest
            raise Refused(f"{self._uri.text}: the token refused the PIN of {self._uri.pin_source}") from error
        self._session, self._round = TokenSession(session), self._module.round
        return self._session

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the library's errors into ours."""
        from pkcs11.exceptions import MultipleTokensReturned, NoSuchToken, PinLocked, PKCS11Error

        try:
            yield
        except MultipleTokensReturned as error:
            raise Refused(f"{self._uri.text}: more than one token is called that: name its serial") from error
        except PinLocked as error:
            raise Refused(f"{self._uri.text}: the PIN is locked: the security officer must set a new one") from error
        except (PKCS11Error, RuntimeError, OSError) as error:
            what = "no such token" if isinstance(error, NoSuchToken) else str(error) or type(error).__name__
            raise Transient(f"{self._uri.text}: the token cannot be used: {what}") from error


@cache
def module_of(path: str) -> Module:
    """Return this process's view of a library. (A child of fork would have to load it again: none uses tokens.)"""
    return Module(path)


_tokens: dict[tuple[object, ...], Token] = {}
_tokens_lock = threading.Lock()


def token_of(uri: TokenURI) -> Token:
    """Return this process's view of the token that a URI names."""
    place = (uri.module, uri.token, uri.serial, uri.pin_source)
    with _tokens_lock:
        if place not in _tokens:
            _tokens[place] = Token(uri)
        return _tokens[place]
