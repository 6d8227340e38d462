"""The whole feed under every trouble that Hypothesis can think of: nobody lies, and all come to the same end.

FASTOCSP_SIMULATIONS=6000 runs as many histories, drawn anew each time.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.responder.feed.simulation.rules import FeedRules

WANTED = int(os.environ.get("FASTOCSP_SIMULATIONS", "0"))


@pytest.mark.timeout(300 + WANTED)
def test_no_history_lets_a_cache_lie() -> None:
    """C1 to C6 hold at every instant of every history, C3 at its end; and enough was confirmed to mean something."""
    FeedRules.examples = FeedRules.confirmations = 0
    run_state_machine_as_test(
        FeedRules,
        settings=settings(
            max_examples=WANTED or 500,
            stateful_step_count=60,
            derandomize=not WANTED,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert FeedRules.confirmations > FeedRules.examples // 2
