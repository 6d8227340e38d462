from pathlib import Path

from _fastocsp.shared.lock import Lock

class Gate:
    """The gate over the agent's shared page in `folder`; FileNotFoundError while there is none."""

    lock: Lock
    def __init__(self, folder: Path, lock: Lock | None = None) -> None: ...
    def remap(self) -> None:
        """Map the image that the page names, if it is another one."""
    def check_record(self, issuer_no: int, serial: bytes, record: bytes) -> int:
        """1 the record may be answered, 0 the revoked set says otherwise, -1 the lease has run out, -3 the issuer is
        fenced.
        """
    def is_fenced(self, issuer_no: int) -> bool:
        """True when nothing but listed revocations may be answered for the issuer."""
    def is_revoked(self, issuer_no: int, serial: bytes) -> bool:
        """True when the set lists the serial."""
