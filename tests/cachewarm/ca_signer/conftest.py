"""A CA signer on a real socket, with a real ledger and its own login; and CAs made in files."""

import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cachewarm.ca.authority import Authority
from cachewarm.ca.ca_keys import Purpose
from cachewarm.ca.certificate import Issued, parse_subject
from cachewarm.ca.issue import Terms, issue
from cachewarm.ca.registry import found_ca, load_authority, pointers_of
from cachewarm.embedded.provision import DatabaseURLs
from cachewarm.keys.soft_key import KeyKind, SoftKey
from cachewarm.ledger import issuers
from cachewarm.ledger.connect import Connection, connected
from tests.support.ca_signer import ThreadedCASigner
from tests.support.scratch import scratch

LEAF_KEY = SoftKey.generate(KeyKind.P256)


@dataclass(frozen=True)
class Site:
    """A ledger, a key folder, and the CA signer of it."""

    connection: Connection
    folder: Path
    signer: ThreadedCASigner

    def authority(self, issuer: issuers.Issuer, purpose: Purpose = Purpose.CERTIFICATE) -> Authority:
        return load_authority(issuer, self.signer.keys, purpose)

    def leaf(self, issuer: issuers.Issuer, **words: Any) -> Issued:
        """Sign a certificate; it is not entered."""
        now = int(time.time())
        authority = self.authority(issuer)
        return issue(authority, LEAF_KEY.public_key, Terms(pointers_of(issuer)), names=["a.example"], now=now, **words)

    async def found(self, issuer_id: str, parent: issuers.Issuer | None = None, **words: Any) -> issuers.Issuer:
        """Make a CA; one below another is signed through the CA signer."""
        wish = {
            "issuer_id": issuer_id,
            "kind": KeyKind.P256,
            "subject": parse_subject(f"CN={issuer_id},O=Example"),
            "parent": parent,
            "parent_authority": None if parent is None else self.authority(parent, Purpose.SUB_CA),
            "base_url": "http://ocsp.example",
            "keys": self.folder,
            "passphrase": None,
            "now": int(time.time()),
            "actor": "test",
        }
        return await found_ca(self.connection, **wish | words)  # type: ignore[arg-type]


@pytest.fixture
async def site(database: DatabaseURLs) -> AsyncIterator[Site]:
    """Without a CA in it."""
    folder = scratch("fastocsp-ca-")
    signer = ThreadedCASigner(folder / "ca-signer.sock", database.ca_signer).start()
    async with connected(database.cli) as connection:
        yield Site(connection, folder, signer)
    signer.stop()
    shutil.rmtree(folder)
