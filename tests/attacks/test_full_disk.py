"""A full data disk: edges answer throughout, nothing ends for good, and everything heals when there is space again."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from _fastocsp.ocsp.record import pack_record
from responder.edge.rules import PASS
from responder.feed.journal import Journal
from responder.feed.machine import GENESIS, Position
from responder.feed.shared import SharedFeed
from responder.files import MEMORY_FOLDER
from responder.hotpath.gate import Gate
from tests.support.breakage import (
    GOOD,
    REVOKED,
    TRY_LATER,
    ask,
    certificates,
    eventually,
    metrics,
    pid_of,
    ready,
    revoke,
)
from tests.support.ca import make_authority
from tests.support.edge_host import EdgeHost
from tests.support.fixtures import scratch
from tests.support.instance import Instance

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder on a file system of 320 MiB, enough for an instance."""
    folder = scratch()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m,mode=755", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("no right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def edge_disk() -> Iterator[Path]:
    """A folder on a file system of 16 MiB, enough for an edge."""
    folder = scratch()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("no right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    shutil.rmtree(folder, ignore_errors=True)


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    with contextlib.suppress(OSError), path.with_suffix(".rest").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def fill_logs(instance: Instance) -> None:
    """Use up the rest of the last page of every log, so that the next line fails."""
    for path in (*instance.folder.glob("logs/*.log"), *instance.folder.glob("*.log"), instance.output):
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 63 + b"\n")


def answers(instance: Instance, path: str) -> object:
    """Return what the edge answers, or None while it cannot be reached."""
    with contextlib.suppress(OSError):
        return ask(instance, path).says
    return None


def kill(instance: Instance, name: str) -> None:
    """End a process in a way that makes its parent log a line."""
    os.kill(pid_of(instance, name), signal.SIGKILL)


def test_a_full_data_disk_heals_by_itself(small_disk: Path) -> None:
    """Answers go on while the disk is full; revocations fail or wait, and work again after space returned."""
    instance = Instance(small_disk / "data", certificates=20, revoked=1, FASTOCSP_LOG_FORMAT="json").start()
    try:
        first, second = certificates(instance)[:2]
        known, revoked = instance.facts["good_cert"], instance.facts["revoked_cert"]
        assert ask(instance, known).says is GOOD
        supervisor = instance.facts["pids"]["supervisor"]
        fill(small_disk / "filler")
        fill_logs(instance)
        kill(instance, "edge")
        kill(instance, "warmer")
        with contextlib.suppress(AssertionError):
            revoke(instance, first, "--patience", "5s")
        eventually(lambda: answers(instance, known) is GOOD, 20, "the edge does not come back on a full disk")
        for _ in range(20):
            assert ask(instance, known).says is GOOD
            assert ask(instance, revoked).says is REVOKED
        (small_disk / "filler").unlink()
        (small_disk / "filler.rest").unlink()

        def confirms() -> bool:
            done = instance.command("revoke", "--cert", str(second), "--wait", check=False)
            return done.returncode == 0 and "CONFIRMED" in done.stdout

        eventually(confirms, 60, "no revocation is confirmed after space returned", pause_s=0.5)
        eventually(lambda: ready(instance)[0] == 200, 30, "not ready after space returned")
        assert ask(instance, second).says is REVOKED
        assert instance.facts["pids"]["supervisor"] == supervisor
    finally:
        instance.stop()


def in_memory() -> set[Path]:
    """Shared files that were made in memory."""
    return set(MEMORY_FOLDER.glob("fastocsp-*"))


def test_shared_maps_of_a_full_disk_are_made_in_memory(edge_disk: Path) -> None:
    """Page and image are there for the workers, and nothing of them is left in memory when they are replaced."""
    before, run = in_memory(), edge_disk / "run"
    run.mkdir()
    fill(edge_disk / "filler")
    shared = SharedFeed(run)
    for number in range(3):
        shared.replace({(1, 1): bytes((number,)) + bytes(5)})
    gate = Gate(run)
    assert gate.check_record(1, b"\2", pack_record(make_authority().record())) != PASS
    assert len(in_memory() - before) == 2
    shared.close()
    (edge_disk / "filler").unlink()
    (edge_disk / "filler.rest").unlink()
    shared = SharedFeed(run)
    shared.replace({})
    assert in_memory() == before
    shared.close()


def test_journal_that_cannot_be_written_is_read_and_named(
    edge_disk: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Its set is found, nothing is appended, and it goes on when the file system can be written again."""
    base = Position(1, 4, GENESIS)
    Journal(edge_disk).replace(base, {(1, 1): b"\5" + bytes(5)}, {})
    view = tmp_path / "view"
    view.mkdir()
    subprocess.run(["mount", "--bind", edge_disk, view], check=True)
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", view], check=True))
    subprocess.run(["mount", "-o", "remount,bind,ro", view], check=True)
    journal = Journal(view)
    kept = journal.open()
    assert kept is not None
    assert kept.groups == {(1, 1): b"\5" + bytes(5)}
    assert "Read-only" in str(journal.fault)
    for use in (journal.require, lambda: journal.append((), base._replace(generation=2))):
        with pytest.raises(OSError, match="Read-only"):
            use()
    subprocess.run(["mount", "-o", "remount,bind,rw", view], check=True)
    journal.append((), base._replace(generation=2))
    assert journal.fault is None


def test_an_edge_restarted_on_a_full_disk_answers(instance: Instance, edge_disk: Path) -> None:
    """With its journal as before; without one `revoked` from memory and no `good`, since nothing is acknowledged."""
    known, revoked = instance.facts["good_cert"], instance.facts["revoked_cert"]
    edge = EdgeHost(instance, edge_disk / "data", "full", FASTOCSP_HORIZON="5s", FASTOCSP_WORKERS="1")
    filler = edge_disk / "filler"
    try:
        edge.start()
        for has_journal in (True, False):
            edge.stop(signal.SIGKILL)
            for path in edge_disk.glob("data/run/*.map"):
                path.unlink()
            for path in (
                () if has_journal else (*edge_disk.glob("data/edge/snapshot-*"), *edge_disk.glob("data/edge/journal-*"))
            ):
                path.unlink()
            fill(filler)
            edge.launch()
            eventually(lambda: answers(edge, revoked) is REVOKED, 40, "the edge does not come up on a full disk")
            if has_journal:
                eventually(lambda: answers(edge, known) is GOOD, 10, "no lease although the journal is whole")
                assert ready(edge)[1]["journal"] == "written"
            else:
                assert answers(edge, known) is TRY_LATER
                assert "not writable" in ready(edge)[1]["journal"]
                assert metrics(edge)["feed_journal_unwritable"] == 1
            filler.unlink()
            filler.with_suffix(".rest").unlink(missing_ok=True)
        eventually(lambda: answers(edge, known) is GOOD, 20, "not open after space returned")
        assert ready(edge)[1]["journal"] == "written"
    finally:
        edge.leave()
