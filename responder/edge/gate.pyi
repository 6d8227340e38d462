from pathlib import Path

class Gate:
    """The gate over the agent's shared page in `folder`; FileNotFoundError while there is none."""

    def __init__(self, folder: Path) -> None: ...
    def check_record(self, issuer_no: int, serial: bytes, record: bytes) -> int:
        """1 the record may be answered, 0 the revoked set says otherwise, -1 the lease has run out."""
    def is_revoked(self, issuer_no: int, serial: bytes) -> bool:
        """True when the set lists the serial."""
