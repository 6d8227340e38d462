"""How far a walk is, said in the log and to `fastocsp status`."""

import asyncio
import json
import time

import pytest

from cachewarm.config import Settings
from cachewarm.embedded.valkey import EmbeddedValkey
from cachewarm.status.instance import survey
from cachewarm.warmer import walk_progress
from cachewarm.warmer.inventory_walk import Count
from cachewarm.warmer.walk_progress import Meter, progress_of
from responder.setting_fields import SecretStr
from responder.tasks import end_tasks
from tests.support.plant import Plant


def test_the_estimate_is_what_is_left_at_the_rate_so_far() -> None:
    """A quarter in 10 s leaves 30 s; both hashes make two signatures of a certificate."""
    said = progress_of(Count(inventory=250, covered=250, signed=500, total=1000), 10)
    assert (said.share, said.eta_s, said.signed_per_s) == (0.25, 30.0, 50)


@pytest.mark.parametrize(
    ("count", "share", "eta"),
    [
        (Count(total=0), None, None),
        (Count(total=10), 0.0, None),
        (Count(inventory=10, total=10), 1.0, 0.0),
        (Count(inventory=12, total=10), 1.0, 0.0),
    ],
    ids=["nothing to walk", "nothing walked", "all", "more than was counted"],
)
def test_what_nobody_can_know_is_not_said(count: Count, share: float | None, eta: float | None) -> None:
    """No division by nothing, nothing below zero or above one."""
    said = progress_of(count, 3)
    assert (said.share, said.eta_s) == (share, eta)


async def test_status_shows_the_walk_under_way(
    plant: Plant, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing before; share and estimate while it goes; the note goes by itself."""
    monkeypatch.setattr(walk_progress, "SAID_EVERY_S", 0.02)
    settings = Settings(data_dir=plant.keys, redis_url=SecretStr(valkey.url("reader")))
    assert (await survey(settings))["redis"].facts == {"reachable": True, "walk": None}
    begun = time.monotonic() - 10
    meter = Meter(begun)
    saying = asyncio.create_task(meter.say(plant.publisher))
    meter(Count(inventory=250, covered=250, signed=500, total=1000))
    await asyncio.sleep(0.2)
    await end_tasks([saying])
    said = (await survey(settings))["redis"].facts["walk"]
    assert json.loads(json.dumps(said))["share"] == 0.25
    assert 29 <= said["eta_s"] <= 3 * (time.monotonic() - begun) + 0.1
    assert 0 < await plant.publisher._client.ttl("o:walk") <= walk_progress.NOTE_KEPT_S
