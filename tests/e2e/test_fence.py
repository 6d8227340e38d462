"""Fenced writes: who was stopped between knowing and writing overwrites nothing newer, and no such answer gets out."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from _fastocsp.ocsp.record import unpack_record
from _fastocsp.wire.codes import REVOKED as REVOKED_IN_RECORD
from responder.domain.key import Key
from responder.domain.redis_layout import WARM_MARK, WARMING, record_name
from responder.domain.status import PRESIGNED
from tests.support.breakage import (
    REVOKED,
    Watch,
    ask,
    certificates,
    eventually,
    octets_of,
    pid_of,
    revoke,
    says,
    stopped,
)
from tests.support.fixtures import scratch
from tests.support.http import Talk
from tests.support.instance import Instance


@pytest.fixture(scope="module")
def patient() -> Iterator[Instance]:
    """An edge that waits for its signer longer than any pause here; a walk that takes a while.

    The warmer signs by itself: its processor time says that it is between stating and publishing. A revocation while
    other processes sign is in tests/cachewarm/warmer/test_inventory_walk.py.
    """
    folder = scratch()
    running = Instance(
        folder / "data",
        certificates=1500,
        revoked=1,
        FASTOCSP_SIGNER_TIMEOUT="20s",
        FASTOCSP_SIGN_PROCESSES="0",
        FASTOCSP_LOG_FORMAT="json",
    ).start()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def records(client: "redis.Redis", path: Path) -> list[bytes]:
    """What Redis has for that certificate now."""
    found: Any = client.mget([record_name(Key(1, algorithm, bytes.fromhex(path.stem))) for algorithm in PRESIGNED])
    return [octets for octets in found if octets is not None]


def all_revoked(client: "redis.Redis", path: Path) -> bool:
    """Both records are there, and neither says good."""
    kept = [unpack_record(octets) for octets in records(client, path)]
    return len(kept) == len(PRESIGNED) and all(record.status == REVOKED_IN_RECORD for record in kept)


@pytest.mark.parametrize("nonce", [True, False], ids=["nonce", "record"])
def test_a_signer_stopped_between_question_and_answer(patient: Instance, nonce: bool) -> None:
    """Asked, signer stopped, revoked and CONFIRMED, signer goes on: no answer is good, asked before or after; the table
    has no good either: the next answers are revoked without a contradiction.
    """
    paths = [path for path in certificates(patient) if not path.with_suffix(".taken").exists()][:4]
    with redis.Redis.from_url(patient.facts["redis_url"]) as client, ThreadPoolExecutor(8) as pool:
        for path in paths:
            path.with_suffix(".taken").touch()
            client.delete(*(record_name(Key(1, a, bytes.fromhex(path.stem))) for a in PRESIGNED))
        with stopped(pid_of(patient, "signer")):
            before = [pool.submit(ask, patient, path, nonce=nonce) for path in paths]
            for path in paths:
                assert revoke(patient, path)["result"] == "CONFIRMED"
            after = [pool.submit(ask, patient, path, nonce=nonce) for path in paths]
        assert {answer.result().says for answer in (*before, *after)} == {REVOKED}
        for path in paths:
            eventually(partial(all_revoked, client, path), 5, "an old record is in Redis")
    for path in paths:
        assert {ask(patient, path).says for _ in range(8)} == {REVOKED}
    watch = Watch(patient)
    assert {ask(patient, path).says for path in paths for _ in range(8)} == {REVOKED}
    assert watch.moved("contradicted") == 0


def test_a_signature_on_its_way_is_stopped_at_the_edge(patient: Instance) -> None:
    """`good` lies signed in the socket of a stopped worker while the certificate is revoked and CONFIRMED: the gate
    comes last, so what leaves is revoked.
    """
    path, watch = certificates(patient)[-1], Watch(patient)
    with Talk(patient.port, timeout_s=30) as talk:
        with ExitStack() as held:
            with stopped(pid_of(patient, "signer")):
                talk.socket.sendall(octets_of(patient, path, nonce=True))
                time.sleep(0.3)
                held.enter_context(stopped(*patient.facts["pids"]["edge"]))
            time.sleep(0.5)
            assert revoke(patient, path)["result"] == "CONFIRMED"
        assert says(talk.read()[2]) is REVOKED
    assert watch.moved("contradicted") >= 1, "the signature was not on its way"


def test_a_warmer_stopped_in_the_middle_of_a_walk(patient: Instance) -> None:
    """It had stated `good` and not yet published it: whatever it writes afterwards, no client sees it, and a moment
    later Redis has the newer record.
    """
    paths = certificates(patient)[50:60]
    with redis.Redis.from_url(patient.facts["redis_url"]) as client:
        warmer = stop_in_a_walk(patient, client)
        try:
            assert {revoke(patient, path)["result"] for path in paths[:3]} == {"CONFIRMED"}
            assert not any(records(client, path) for path in paths)
        finally:
            os.kill(warmer, signal.SIGCONT)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert {ask(patient, path, nonce=bool(n % 2)).says for n, path in enumerate(paths[:3])} == {REVOKED}
        for path in paths[:3]:
            eventually(partial(all_revoked, client, path), 3, "an old record is in Redis")


def has_worked(process: psutil.Process, user_s: float) -> bool:
    """It has had more than that of a processor."""
    return process.cpu_times().user > user_s


def stop_in_a_walk(instance: Instance, client: "redis.Redis") -> int:
    """Empty Redis, and SIGSTOP the warmer while it signs everything again, before it has published; its pid."""
    warmer = psutil.Process(pid_of(instance, "warmer"))
    for _ in range(6):
        client.flushall()
        begun = warmer.cpu_times().user
        eventually(partial(has_worked, warmer, begun + 0.06), 5, "no walk", pause_s=0.001)
        warmer.suspend()
        if {*client.keys()} <= {WARMING}:  # no record
            return warmer.pid
        warmer.resume()
        eventually(lambda: client.exists(WARM_MARK), 10)
    raise AssertionError("never stopped between stating and publishing")
