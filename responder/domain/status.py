"""Statuses, reasons and hash algorithms, by their RFC names and numbers.

RFC 6960 4.2.1 (CertStatus), RFC 5280 5.3.1 (CRLReason). The numbers of HashAlgorithm are ours: they are one
byte of the compact record and of every cache key.
"""

from enum import IntEnum, StrEnum


class CertStatus(IntEnum):
    """The choice of a SingleResponse, by its context tag."""

    GOOD = 0
    REVOKED = 1
    UNKNOWN = 2


class CRLReason(IntEnum):
    """RFC 5280 5.3.1; 7 does not exist, removeFromCRL belongs to delta CRLs alone."""

    unspecified = 0
    keyCompromise = 1  # noqa: N815 - the RFC's spelling
    cACompromise = 2  # noqa: N815
    affiliationChanged = 3  # noqa: N815
    superseded = 4
    cessationOfOperation = 5  # noqa: N815
    certificateHold = 6  # noqa: N815
    removeFromCRL = 8  # noqa: N815
    privilegeWithdrawn = 9  # noqa: N815
    aACompromise = 10  # noqa: N815

    @classmethod
    def parse(cls, text: str) -> "CRLReason":
        """The reason of that name, in any case and with or without `-` and `_`; ValueError lists the names."""
        wanted = text.replace("-", "").replace("_", "").lower()
        for reason in cls:
            if reason.name.lower() == wanted:
                return reason
        raise ValueError(f"no such reason: {text!r}; one of {', '.join(r.name for r in cls)}")


class HashAlgorithm(IntEnum):
    """hashAlgorithm of a CertID; `_fastocsp.wire.codes` holds the same numbers."""

    SHA1 = 1
    SHA256 = 2
    SHA384 = 3
    SHA512 = 4

    @property
    def hashlib_name(self) -> str:
        """The name `hashlib.new` knows it by."""
        return self.name.lower()


#: Both are signed ahead of any question; the other two only when asked for.
PRESIGNED = (HashAlgorithm.SHA1, HashAlgorithm.SHA256)


class UnissuedPolicy(StrEnum):
    """Answer for a serial number that was never issued, per issuer."""

    UNAUTHORIZED = "unauthorized"
    UNKNOWN = "unknown"
    GOOD = "good"
    EXTENDED_REVOKE = "extended-revoke"


#: Beside the works of the ledger's issuer_faults, in `/ready` and metrics: the issuer is fenced, as this edge knows.
FENCE = "fence"
