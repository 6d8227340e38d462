"""Why a CRL was not taken over: a word for the log and the metric, a sentence for the person who is paged."""

from enum import StrEnum

from cachewarm.errors import Transient


class Fault(StrEnum):
    """The first six are the source's, the others the CRL's."""

    UNREACHABLE = "unreachable"
    STATUS = "status"
    REDIRECTS = "redirects"
    OVERSIZED = "oversized"
    SLOW = "slow"
    TRUNCATED = "truncated"
    FORM = "form"
    SIGNATURE = "signature"
    ISSUER = "issuer"
    NUMBER = "number"
    WINDOW = "window"
    SCOPE = "scope"
    BASE = "base"
    ENTRIES = "entries"


class NotMirrored(Transient):
    """The old CRL stays; the source is asked again, as whoever keeps it may mend it."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(f"{fault}: {text}")
        self.fault = fault
