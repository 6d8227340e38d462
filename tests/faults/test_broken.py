"""The checker finds each of the four broken builds, by the fault that each lets through. `test_faults.py` has the same
faults on the sound build, and finds nothing.
"""

import pytest

from tests.faults.broken import (
    FIRST_LEASE,
    GATE_OFF,
    IN_LEDGER,
    IN_PROCESSES,
    LEASE_FROM_RECEIPT,
    SEQUENCE_CURSOR,
    break_ledger,
)
from tests.faults.links import LateReply
from tests.faults.nemesis import Kind
from tests.faults.processes import StopWarmer
from tests.faults.run import Run
from tests.faults.stalled import FirstPollStalled
from tests.faults.world import World
from tests.faults.writers import RevokerStopped

CERTIFICATES = 120
#: A lie shows in a window of some tenths of a second, which a busy machine may pass without a question.
TRIES = 4


class Broken(Run):
    """One fault, again until a lie was told, on a small world whose host north, or whose ledger, is that build."""

    first_bulk, commands = 20, False

    def __init__(self, build: str, kind: Kind) -> None:
        builds = {"north": ["tests.faults.broken", build]} if build in IN_PROCESSES else {}
        super().__init__(1, world=World(CERTIFICATES, builds))
        self._build, self._kind = build, kind

    async def episodes_of_the_run(self) -> None:
        """The ledger is broken after it has been sound."""
        await self.calm()
        if self._build in IN_LEDGER:
            connection = await self.world.owner()
            await break_ledger(connection, self._build)
            await connection.close()
        for _ in range(TRIES):
            await self.episode((self._kind,))
            if any(violation.rule == "C1" for violation in self.episodes[-1].violations):
                return


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (LEASE_FROM_RECEIPT, LateReply),
        (GATE_OFF, StopWarmer),
        (FIRST_LEASE, FirstPollStalled),
        (SEQUENCE_CURSOR, RevokerStopped),
    ],
)
async def test_the_checker_finds(build: str, kind: Kind) -> None:
    """`good` after CONFIRMED, told by north alone; but where the ledger's numbers are out of order the others may lie
    too: a snapshot that one of them takes meanwhile acknowledges a number whose entry it has not seen.
    """
    run = await Broken(build, kind).go()
    judged = run.episodes[-1]
    assert not any(violation.rule == "proof" for violation in judged.violations)
    lies = [line for violation in judged.violations if violation.rule == "C1" for line in violation.lines]
    assert lies
    hosts = {line.partition("host='")[2].partition("'")[0] for line in lies}
    assert "north" in hosts
    assert hosts == {"north"} or build == SEQUENCE_CURSOR
