"""The shared page and the gate, in real files and across processes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from _fastocsp.ocsp.record import pack_record
from _fastocsp.revoked.rows import merge_groups
from _fastocsp.wire.codes import GOOD, REVOKED, SHA1, UNKNOWN
from _fastocsp.wire.types import Record
from responder.clock import NS, read_clock
from responder.feed.machine import GENESIS, Position, Renew, State
from responder.feed.shared import PAGE_NAME, PageGone, SharedFeed, image_path
from responder.hotpath.gate import Gate

A, B = b"\x05" * 8, b"\x06" * 8
SET = merge_groups({}, [(1, 1, A, 1000, 1)])
WORKER = """
import sys
from pathlib import Path
from responder.hotpath.gate import Gate
gate = Gate(Path(sys.argv[1]))
for line in sys.stdin:
    serial, record = line.split()
    print(gate.check_record(1, bytes.fromhex(serial), bytes.fromhex(record)), flush=True)
"""


def record(status: int, *, at: int = 0, reason: int = 255) -> bytes:
    """A compact record that says so."""
    return pack_record(Record(SHA1, status, bytes(8), 2000, 3000, 2000, reason, at))


def lease(seconds: float) -> Renew:
    """From now."""
    now = read_clock()
    return Renew(now.boot + int(seconds * NS), now.mono + int(seconds * NS), now.wall_s, 3, 7)


@pytest.fixture
def shared(tmp_path: Path) -> SharedFeed:
    """With one revoked certificate and a lease."""
    made = SharedFeed(tmp_path)
    made.replace(SET)
    made.renew(lease(60))
    return made


def test_a_worker_process_sees_every_change(tmp_path: Path, shared: SharedFeed) -> None:
    """Lease, delta, new image and release, each at once, without a restart of the worker."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None

        def ask(serial: bytes, octets: bytes) -> int:
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(f"{serial.hex()} {octets.hex()}\n")
            worker.stdin.flush()
            return int(worker.stdout.readline())

        assert (ask(A, record(GOOD)), ask(B, record(GOOD))) == (0, 1)
        assert ask(A, record(REVOKED, at=1000, reason=1)) == 1
        assert ask(A, record(REVOKED, at=1000, reason=4)) == 0
        shared.apply([(1, 1, B, 1001, 1)])
        assert ask(B, record(GOOD)) == 0
        shared.replace(SET)
        assert ask(B, record(GOOD)) == 1
        shared.apply([(2, 1, A, 0, 0)])
        assert (ask(A, record(GOOD)), ask(A, record(REVOKED, at=1000, reason=1))) == (1, 0)
        shared.renew(None)
        assert ask(A, record(GOOD)) == -1
        shared.apply([(1, 1, A, 1002, 1)])
        assert ask(A, record(REVOKED, at=1002, reason=1)) == 1
        worker.stdin.close()


@pytest.mark.parametrize("clock", ["boot", "mono"])
def test_a_lease_ends_on_either_clock(tmp_path: Path, shared: SharedFeed, clock: str) -> None:
    """Nobody needs to do anything for it: a stopped agent closes its workers."""
    gate, full = Gate(tmp_path), lease(60)
    past = full._replace(**{f"until_{clock}": getattr(read_clock(), clock)})
    shared.renew(past)
    assert gate.check_record(1, B, record(GOOD)) == -1
    shared.renew(full)
    assert gate.check_record(1, B, record(GOOD)) == 1


def test_a_fence_leaves_revocations_alone(tmp_path: Path, shared: SharedFeed) -> None:
    """Set and lifted by an item or by a whole set, the lease renewed before or after: the other issuer's answers pass
    all along. Neither an extended revoke (RFC 6960 2.2) nor `unknown` passes.
    """
    gate, fence = Gate(tmp_path), (1, b"", 1000, 255)

    def verdicts(issuer_no: int) -> list[int]:
        return [gate.check_record(issuer_no, B, record(status)) for status in (GOOD, UNKNOWN, REVOKED)]

    def expect(*, fenced: bool) -> None:
        assert verdicts(1) == ([-3] * 3 if fenced else [1] * 3)
        assert verdicts(2) == [1] * 3
        assert gate.is_fenced(1) is fenced
        assert gate.check_record(1, A, record(REVOKED, at=1000, reason=1)) == 1
        assert gate.check_record(1, A, record(GOOD)) == 0

    expect(fenced=False)
    for renewed in (False, True):
        shared.apply([(1, *fence)])
        if renewed:
            shared.renew(lease(60))
        expect(fenced=True)
        shared.apply([(2, *fence)])
        expect(fenced=False)
    shared.replace(merge_groups(SET, [(1, *fence)]))
    expect(fenced=True)
    shared.renew(None)
    assert (verdicts(1), verdicts(2)) == ([-1] * 3, [-1] * 3)
    shared.replace(SET)
    shared.renew(lease(60))
    expect(fenced=False)


@pytest.mark.parametrize("clock", ["boot", "mono"])
def test_a_lease_beside_a_fence_ends_on_either_clock(tmp_path: Path, shared: SharedFeed, clock: str) -> None:
    """As without one."""
    shared.apply([(1, 2, b"", 1000, 255)])
    gate, full = Gate(tmp_path), lease(60)
    assert gate.check_record(1, B, record(GOOD)) == 1
    shared.renew(full._replace(**{f"until_{clock}": getattr(read_clock(), clock)}))
    assert gate.check_record(1, B, record(GOOD)) == -1


def test_the_next_life_closes_the_page_of_the_one_before(tmp_path: Path, shared: SharedFeed) -> None:
    """A worker that is slow to die trusts no lease that the ledger has already forgotten."""
    slow = Gate(tmp_path)
    shared.close()
    shared.renew(lease(60))
    assert slow.check_record(1, B, record(GOOD)) == 1
    SharedFeed(tmp_path).replace(SET)
    assert slow.check_record(1, B, record(GOOD)) == -1


@pytest.mark.parametrize("clean", [False, True])
def test_the_next_life_has_the_lease_that_was_left(tmp_path: Path, shared: SharedFeed, clean: bool) -> None:
    """Whether the one before was stopped or killed; not what it had withdrawn."""
    left = lease(60)
    shared.renew(left)
    if not clean:
        os.close(shared._lock)
    else:
        shared.close()
    heir = SharedFeed(tmp_path)
    assert heir.former_lease() == left
    heir.renew(left)
    heir.renew(None)
    heir.close()
    assert SharedFeed(tmp_path).former_lease() is None


def test_no_lease_outlives_a_boot_of_the_host(
    tmp_path: Path, shared: SharedFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clocks count from zero again."""
    shared.close()
    other = tmp_path / "boot_id"
    other.write_text("another boot")
    monkeypatch.setattr("responder.feed.shared.BOOT_ID", other)
    assert SharedFeed(tmp_path).former_lease() is None


def test_two_agents_never_share_a_folder(tmp_path: Path, shared: SharedFeed) -> None:
    """The second is told so, and the first goes on."""
    with pytest.raises(OSError, match="another edge runs"):
        SharedFeed(tmp_path)
    assert Gate(tmp_path).check_record(1, B, record(GOOD)) == 1


@pytest.mark.parametrize("again", [False, True])
def test_a_page_that_vanished_is_closed(tmp_path: Path, shared: SharedFeed, again: bool) -> None:
    """Removed, or another one put in its place: no lease on the old one, and the agent ends."""
    gate = Gate(tmp_path)
    octets = (tmp_path / PAGE_NAME).read_bytes()
    (tmp_path / PAGE_NAME).unlink()
    if again:
        (tmp_path / "other").write_bytes(octets)
        (tmp_path / "more").write_bytes(octets)
        (tmp_path / "more").rename(tmp_path / PAGE_NAME)
    with pytest.raises(PageGone):
        shared.show(Position(1, 0, GENESIS), 0, State.LIVE)
    assert gate.check_record(1, B, record(GOOD)) == -1


def test_a_full_delta_makes_a_new_image(tmp_path: Path, shared: SharedFeed) -> None:
    """Nothing is lost over the change, and the old file goes."""
    gate = Gate(tmp_path)
    serials = [number.to_bytes(8, "big") for number in range(1 << 24, (1 << 24) + 70_000)]
    shared.apply([(1, 1, serial, 1000, 1) for serial in serials])
    assert all(gate.is_revoked(1, serial) for serial in (serials[0], serials[65_535], serials[65_536], serials[-1], A))
    assert not gate.is_revoked(1, B)
    assert [image_path(tmp_path, number).exists() for number in (1, 2)] == [False, True]
