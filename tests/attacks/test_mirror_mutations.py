"""Broken CRLs, most of them under a good signature: refused by a rule, or rows that the ledger can hold."""

from collections import Counter
from pathlib import Path

from tests.support.mirror_mutations import mutations, outcome


def test_broken_crls_are_refused_by_a_rule_or_taken_whole(tmp_path: Path) -> None:
    """Without an exception; `python -m tests.support.mirror_mutations` runs 100,000."""
    found = Counter(outcome(body, tmp_path / "source") for body in mutations(1500, 11))
    assert found["taken"] > 50
    assert len(found) > 4
