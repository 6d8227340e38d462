"""A wrong wall clock (the ladder's last rung): on a host whose wall clock is not the ledger's nobody is called good.

wall.c, preloaded, turns the wall clock of one edge host's processes; the boot and monotonic clocks, by which a lease
goes, it leaves alone. So host and ledger disagree, as they do when a host's time source breaks.
"""

import shutil
import time
from collections.abc import Iterator

import pytest

from tests.support.breakage import GOOD, REVOKED, TRY_LATER, Watch, ask, eventually, metrics, ready
from tests.support.edge_host import EdgeHost
from tests.support.fixtures import scratch
from tests.support.http import Talk, get_octets
from tests.support.instance import Instance
from tests.support.wall import WallClock


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[EdgeHost, WallClock]]:
    """An edge host beside an instance, and its wall clock."""
    folder = scratch()
    clock = WallClock(folder)
    centre = Instance(
        folder / "data", workers=1, FASTOCSP_HORIZON="4s", FASTOCSP_POLL_INTERVAL="100ms", FASTOCSP_LOG_FORMAT="json"
    ).start()
    other = EdgeHost(centre, folder / "other", "other", **clock.settings).start()
    yield other, clock
    other.stop()
    centre.stop()
    shutil.rmtree(folder)


@pytest.mark.parametrize("seconds", [120, -120])
def test_a_clock_far_from_the_ledgers_closes_the_host(host: tuple[EdgeHost, WallClock], seconds: int) -> None:
    """More than 60 s ahead or behind: tryLater, with a nonce too, and revoked as before; /ready says 503, the log why;
    the right time again, and good within two seconds.
    """
    instance, clock = host
    good, revoked = instance.facts["good_cert"], instance.facts["revoked_cert"]
    eventually(lambda: ready(instance)[0] == 200, 5)
    assert ask(instance, good).says is GOOD
    watch = Watch(instance)
    clock.set(seconds)
    try:
        eventually(lambda: ask(instance, good).says is TRY_LATER, 1, "not closed")
        for nonce in (False, True):
            assert ask(instance, revoked, nonce=nonce).says is REVOKED
        assert ask(instance, good, nonce=True).says is TRY_LATER
        assert ready(instance)[0] == 503
        assert watch.lines("edge", "lease withdrawn")[0]["reason"].startswith("the ledger's clock")
        assert metrics(instance)["feed_state:CLOSED"] == 1
    finally:
        clock.set(0)
    eventually(lambda: ask(instance, good).says is GOOD, 2, "not open again")
    eventually(lambda: ask(instance, good, nonce=True).says is GOOD, 2)


def test_an_expired_crl_is_served_with_an_alarm(host: tuple[EdgeHost, WallClock]) -> None:
    """Two days later by the host's clock: no max-age, the metric moves, and the log names it."""
    instance, clock = host
    path = "/.well-known/pki/crl/demo"
    watch = Watch(instance)
    with Talk(instance.port) as talk:
        assert talk.ask(get_octets(path))[1]["cache-control"] != "public, max-age=0, must-revalidate"
        clock.set(2 * 86400)
        try:
            status, fields, _ = talk.ask(get_octets(path))
        finally:
            clock.set(0)
    assert (status, fields["cache-control"]) == (200, "public, max-age=0, must-revalidate")
    assert watch.moved("crl_expired_served") == 1
    assert watch.lines("edge", "expired CRL served")[0]["crl"] == "demo"


def test_a_small_step_costs_no_answer(host: tuple[EdgeHost, WallClock]) -> None:
    """Five seconds forth and back, as a time source that corrects itself: one renewal each, and good all the while."""
    instance, clock = host
    good = instance.facts["good_cert"]
    eventually(lambda: ready(instance)[0] == 200, 5)
    for seconds in (5, 0):
        clock.set(seconds)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert ask(instance, good).says is GOOD
            time.sleep(0.05)
        assert metrics(instance)["feed_state:LIVE"] == 1
