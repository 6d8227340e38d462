"""CRLs as the edge reads them: odd names and entries do not matter, the issuer's signature does."""

import random
from pathlib import Path

import pytest
from asn1crypto import pem

from responder.domain.crl import read_crl_facts

INPUTS = Path(__file__).parents[2] / "vectors" / "inputs"
ODD = ("ampersand-name/ca.crl", "long-serial/ca.crl", "invalidity-9999/ca.crl", "crl-forms/aki-critical.crl")


def pair(name: str) -> tuple[bytes, bytes]:
    """Return a CRL and its CA's certificate."""
    path = INPUTS / name
    _, _, certificate = pem.unarmor((path.parent / "ca.pem").read_bytes())
    return path.read_bytes(), certificate


@pytest.mark.parametrize("name", ODD)
def test_a_crl_with_an_odd_name_or_entry_is_served(name: str) -> None:
    """Its window is read and its signature verified without looking at names and entries."""
    facts = read_crl_facts(*pair(name))
    assert facts.is_signed
    assert facts.next_update is not None
    assert facts.this_update < facts.next_update


def test_a_crl_of_another_issuer_is_not_signed() -> None:
    """The CRL is read, and found not to be the issuer's."""
    crl, _ = pair(ODD[0])
    _, other = pair(ODD[1])
    assert not read_crl_facts(crl, other).is_signed


def test_broken_crls_are_unsigned_or_refused() -> None:
    """Two thousand mutations: each is refused with ValueError or has a wrong signature; nothing else is raised."""
    rng = random.Random(11)
    crl, certificate = pair(ODD[2])
    for _ in range(2000):
        broken = bytearray(crl)
        for _ in range(rng.randint(1, 3)):
            broken[rng.randrange(len(broken))] ^= rng.randint(1, 255)
        broken = broken[: rng.randint(1, len(broken))] if rng.random() < 0.2 else broken
        try:
            assert not read_crl_facts(bytes(broken), certificate).is_signed or bytes(broken) == crl
        except ValueError:
            continue
