"""Former ids of merged issuers: their URLs are in certificates, so the edge answers them."""

import hashlib
from pathlib import Path

from responder.domain.catalog import Catalog, CRLEntry
from responder.edge.crl_shelf import CRLShelf


def test_crls_are_served_under_a_former_id(tmp_path: Path) -> None:
    """The complete CRL and its parts; an id that merely begins alike is another one."""
    der = b"\x30\x00"
    (tmp_path / "one.crl").write_bytes(der)
    entry = CRLEntry(1, 0, 1, "one.crl", hashlib.sha256(der).hexdigest(), len(der), 0)
    shelf = CRLShelf(tmp_path, 3600)
    shelf.take(Catalog(crls={"z": entry, "z/delta": entry, "zz": entry}, aliases={"b": "z"}))
    assert shelf.get("b") is shelf.get("z")
    assert shelf.get("b/delta") is shelf.get("z/delta")
    assert shelf.get("bz") is None
