"""The whole feed under every trouble that Hypothesis can think of: nobody lies, and all come to the same end.

Every commit has a sample of its own; FASTOCSP_SIMULATIONS=6000 draws as many histories at random.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.responder.feed.simulation.rules import FeedRules
from tests.support.sampling import commit_seed

WANTED = int(os.environ.get("FASTOCSP_SIMULATIONS", "0"))


@pytest.mark.timeout(300 + WANTED)
def test_no_history_lets_a_cache_lie() -> None:
    """C1 to C6 hold at every instant of every history, C3 at its end; and enough was confirmed to mean something."""
    FeedRules.examples = FeedRules.confirmations = 0
    run_state_machine_as_test(
        FeedRules if WANTED else seed(commit_seed())(FeedRules),
        settings=settings(
            max_examples=WANTED or 200,
            stateful_step_count=60,
            derandomize=False,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert FeedRules.confirmations > FeedRules.examples // 2
