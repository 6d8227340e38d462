"""The simulation can fail: every known way to lie is found. They are listed in docs/explanation/coherence.md."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.responder.feed.simulation.mutants import MUTANTS
from tests.responder.feed.simulation.rules import FeedRules
from tests.responder.feed.simulation.watch import Violation

#: Many times what the slowest of them needs. What is drawn depends on more than the seed: Hypothesis also picks
#: constants out of the modules that are loaded.
EXAMPLES = int(os.environ.get("FASTOCSP_SIMULATIONS", "6000"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulation_finds_a_build_that_lies(
    name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Some history breaks an invariant."""
    MUTANTS[name](monkeypatch)
    FeedRules.examples = 0
    with pytest.raises(Violation) as killed:
        run_state_machine_as_test(
            FeedRules,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=60,
                derandomize=True,
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
    request.node.user_properties.append(("killed", [name, killed.value.invariant, FeedRules.examples]))
