"""A root, and a subordinate CA below it, for every kind of key that may be a CA's; and `plant`, a ledger with one."""

import functools
from dataclasses import dataclass

import pytest

from cachewarm.ca.authority import Authority, init_root, init_sub
from cachewarm.ca.certificate import Issued, parse_subject
from cachewarm.ca.profiles import Pointers
from cachewarm.keys.soft_key import KeyKind, SoftKey
from tests.support.plant import plant

__all__ = ["plant"]

#: 2025-06-01 00:00:00 UTC.
NOW = 1_748_736_000
KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.RSA2048, KeyKind.ED25519)
POINTERS = Pointers(
    "http://ocsp.example.com/.well-known/pki/ocsp/issuing",
    "http://ocsp.example.com/.well-known/pki/issuer/issuing",
    "http://ocsp.example.com/.well-known/pki/crl/issuing",
)


@dataclass(frozen=True)
class House:
    """A root and the issuing CA below it, with keys of one kind."""

    kind: KeyKind
    root: Authority
    sub: Authority

    @property
    def chain(self) -> tuple[Issued, Issued]:
        return Issued.of(self.root.certificate), Issued.of(self.sub.certificate)


@functools.cache
def house_of(kind: KeyKind, now: int = NOW) -> House:
    """Made once a process: RSA keys take their time."""
    root_key, sub_key = SoftKey.generate(kind), SoftKey.generate(kind)
    root = Authority(init_root(root_key, parse_subject("CN=Test Root,O=Example,C=DE"), now=now).certificate, root_key)
    subject = parse_subject("CN=Test Issuing CA,O=Example,C=DE")
    sub = Authority(init_sub(sub_key, subject, root, now=now, pointers=POINTERS).certificate, sub_key)
    return House(kind, root, sub)


@pytest.fixture(params=KINDS, ids=str)
def house(request: pytest.FixtureRequest) -> House:
    """Once for every kind of key."""
    return house_of(request.param)


@pytest.fixture
def p256() -> House:
    """The usual kind alone."""
    return house_of(KeyKind.P256)
