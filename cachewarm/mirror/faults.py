"""Why a CRL was not mirrored: a word for the log and the metric, a sentence for the operator."""

from enum import StrEnum

from cachewarm.crl.rules import CRLProblem, Rule
from cachewarm.errors import Transient


class SourceFault(StrEnum):
    """Kinds of faults of a source; the values are in metrics and events and never change."""

    UNREACHABLE = "unreachable"
    STATUS = "status"
    REDIRECTS = "redirects"
    OVERSIZED = "oversized"
    SLOW = "slow"
    TRUNCATED = "truncated"
    INTERNAL = "internal"


class NotMirrored(Transient):
    """The CRL that is here stays; the source is queried again, because its operator may mend it."""

    def __init__(self, fault: SourceFault | Rule, text: str) -> None:
        super().__init__(f"{fault}: {text}")
        self.fault = fault

    @classmethod
    def of(cls, problem: CRLProblem) -> "NotMirrored":
        """Return the failure for a CRL that is not acceptable."""
        return cls(problem.rule, problem.text)
