"""`openssl verify -crl_check_all -use_deltas` over a chain of three, with complete and delta CRLs and with shards.

The root's CRL has no distribution point here: openssl also asks for the CRL of the root itself, whose certificate names
none, and refuses one that is said to be served at some URL.
"""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from _fastocsp.crl.entry_writer import shard_of
from _fastocsp.crl.fields import Scope
from cachewarm.ca.certificate import Issued
from cachewarm.ca.issue import Terms, issue
from cachewarm.ca.profiles import Pointers
from cachewarm.crl.build import CRLFields, build
from cachewarm.crl.plan import RevokedEntry
from responder.domain.issuer import Issuer
from tests.cachewarm.conftest import NOW, POINTERS, House
from tests.cachewarm.crl.test_build import DAY_S, URL, crl_of, encoded
from tests.support.judges import openssl

SHARDS = 8


def root_crl(house: House, revoked: list[RevokedEntry]) -> bytes:
    """A CRL of the root, without a distribution point."""
    root = Issuer.from_certificate(house.chain[0].cert_der, issuer_id="root", issuer_no=2)
    shape = CRLFields(number=1, this_update=NOW, next_update=NOW + DAY_S, scope=Scope())
    found = encoded(revoked)
    return build(root, house.root.key, found.parts[0], found.latest, shape)


def leaf_of(house: House, pointers: Pointers = POINTERS) -> Issued:
    """A certificate of the issuing CA."""
    return issue(house.sub, house.sub.key.public_key, Terms(pointers), names=["a.example.com"], now=NOW)


def verify(folder: Path, house: House, leaf: Issued, *crls: bytes) -> str:
    """What openssl says of the chain; AssertionError when it refuses."""
    for name, pem in (("root", house.chain[0].pem), ("sub", house.chain[1].pem), ("leaf", leaf.pem)):
        (folder / f"{name}.pem").write_bytes(pem)
    (folder / "crls.pem").write_bytes(b"".join(x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM) for crl in crls))
    return openssl(
        "verify", "-attime", str(NOW + 5), "-crl_check_all", "-extended_crl", "-use_deltas", "-CAfile",
        folder / "root.pem", "-untrusted", folder / "sub.pem", "-CRLfile", folder / "crls.pem", folder / "leaf.pem",
    )  # fmt: skip


def test_a_chain_is_judged_by_complete_and_delta_crls(house: House, tmp_path: Path) -> None:
    """The delta adds a revocation and takes one off; the root's CRL revokes the CA below it. For every kind of key."""
    leaf, root = leaf_of(house), root_crl(house, [])
    fresh = f"{URL}/delta"
    clean, listed = (
        crl_of(house, [], freshest_url=fresh),
        crl_of(house, [RevokedEntry(leaf.serial, NOW - 9, 6)], freshest_url=fresh),
    )
    adds = crl_of(house, [RevokedEntry(leaf.serial, NOW - 9, 4)], number=9, base_number=7)
    removes = crl_of(house, [RevokedEntry(leaf.serial, NOW - 9, 8)], number=9, base_number=7)
    verify(tmp_path, house, leaf, root, clean)
    verify(tmp_path, house, leaf, root, listed, removes)
    for crls in ((root, listed), (root, clean, adds)):
        with pytest.raises(AssertionError, match="certificate revoked"):
            verify(tmp_path, house, leaf, *crls)
    below = RevokedEntry(house.chain[1].serial, NOW - 9, 2)
    with pytest.raises(AssertionError, match="error 23 at 1 depth lookup: certificate revoked"):
        verify(tmp_path, house, leaf, root_crl(house, [below]), clean)


def test_a_chain_is_judged_by_the_shard_of_its_leaf(p256: House, tmp_path: Path) -> None:
    """The CRL that the certificate names decides; the one of another shard is of another scope."""
    pointers = Pointers(crl_url=URL, crl_shards=SHARDS)
    leaf, root = leaf_of(p256, pointers), root_crl(p256, [])
    mine = shard_of(leaf.serial, SHARDS)
    verify(tmp_path, p256, leaf, root, crl_of(p256, [], scope=Scope(url=f"{URL}/{mine}")))
    entry = RevokedEntry(leaf.serial, NOW - 9, 1)
    with pytest.raises(AssertionError, match="certificate revoked"):
        verify(tmp_path, p256, leaf, root, crl_of(p256, [entry], scope=Scope(url=f"{URL}/{mine}")))
    with pytest.raises(AssertionError, match="different CRL scope"):
        verify(tmp_path, p256, leaf, root, crl_of(p256, [], scope=Scope(url=f"{URL}/{(mine + 1) % SHARDS}")))
