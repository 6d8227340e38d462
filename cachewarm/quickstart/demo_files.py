"""Files of the quickstart's demo CA: the paths that it prints."""

from pathlib import Path
from typing import NamedTuple


class Demo(NamedTuple):
    """The CA's name and files; `question` is an OCSP request that takes a live signature to answer."""

    issuer_id: str
    issuer_cert: Path
    good_cert: Path
    revoked_cert: Path
    certs_dir: Path
    question: bytes = b""

    @classmethod
    def from_texts(cls, texts: dict[str, str]) -> "Demo":
        """Read what a step of the start returned."""
        paths = {name: Path(texts[name]) for name in ("issuer_cert", "good_cert", "revoked_cert", "certs_dir")}
        return cls(issuer_id=texts["issuer_id"], question=bytes.fromhex(texts["question"]), **paths)
