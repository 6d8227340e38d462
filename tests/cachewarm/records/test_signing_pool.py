"""Signing processes: real ones, killed and stopped while they sign.

A responder's key is of one kind, whatever kind the CA's is: what processes do when they are hurt is tried with one CA.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from _fastocsp.ocsp.record import hash_algorithm_of, pack_record, unpack_record
from _fastocsp.ocsp.signing_runs import join_runs, split_runs
from _fastocsp.wire.codes import GOOD
from cachewarm.ca.responder_certificate import ResponderPair, make
from cachewarm.errors import Refused, Transient
from cachewarm.records.keyring import Signing
from cachewarm.records.mint import check, unsigned_record
from cachewarm.records.signing_pool import BATCH, START_S, SigningPool, Unsigned, sealed
from cachewarm.records.statement import Statement
from responder.domain.catalog import templates
from responder.domain.issuer import Issuer
from responder.domain.responder import ResponderCertificate
from responder.domain.status import PRESIGNED
from responder.feed.machine import Position
from tests.cachewarm.conftest import NOW, House

STATEMENT = Statement(GOOD, NOW, NOW + 3600, Position(1, 7, b""))


def signing_of(house: House, issuer_no: int = 1) -> Signing:
    """A new delegated responder of the root."""
    issuer = Issuer.from_certificate(house.chain[0].cert_der, issuer_id="root", issuer_no=issuer_no)
    issued, key = make(house.root, "root", now=NOW)
    responder = ResponderCertificate.from_der(issued.cert_der)
    return Signing(issuer, ResponderPair(responder, key), templates(issuer, responder))


def unsigned(signing: Signing, count: int) -> list[Unsigned]:
    """Records of both hashes for so many serials of every length."""
    return [
        (
            os.urandom(1 + n % 20).replace(b"\0", b"\1"),
            pack_record(unsigned_record(STATEMENT, signing.templates[PRESIGNED[n % 2]], NOW)),
        )
        for n in range(count)
    ]


def check_all(signing: Signing, asked: list[Unsigned], records: list[bytes]) -> None:
    """Every signature verifies for its own serial, and every record says what was stated."""
    assert len(records) == len(asked)
    for (serial, stated), record in zip(asked, records, strict=True):
        template = signing.templates[hash_algorithm_of(stated)]
        check(record, serial, template, signing.pair.certificate)
        assert unpack_record(record)._replace(signature=b"") == unpack_record(stated)


@pytest.fixture
async def pool() -> AsyncIterator[SigningPool]:
    """Two processes, with little patience."""
    made = SigningPool(2, patience_s=2.0)
    yield made
    await made.end()


async def test_every_record_verifies_and_says_what_was_stated(house: House, pool: SigningPool) -> None:
    """Several batches over two processes come back whole and in order, under either hash."""
    signing = signing_of(house)
    asked = unsigned(signing, 5 * BATCH + 7)
    check_all(signing, asked, await pool.sign(signing, asked))
    assert len(set(pool.pids)) == 2


async def test_a_killed_process_costs_nothing_but_time(p256: House, pool: SigningPool) -> None:
    """SIGKILL to one of two in the middle: its batches are signed again by others, all records are right."""
    signing = signing_of(p256)
    await pool.sign(signing, unsigned(signing, 4 * BATCH))
    before = pool.pids
    asked = unsigned(signing, 60 * BATCH)
    under_way = asyncio.create_task(pool.sign(signing, asked))
    await asyncio.sleep(0.05)
    assert not under_way.done()
    os.kill(before[0], signal.SIGKILL)
    check_all(signing, asked, await under_way)
    assert before[0] not in pool.pids


async def test_a_stopped_process_is_replaced(p256: House, pool: SigningPool) -> None:
    """SIGSTOP to both: within the patience they are killed, and new ones sign what they had."""
    signing = signing_of(p256)
    await pool.sign(signing, unsigned(signing, 4 * BATCH))
    before = pool.pids
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    asked = unsigned(signing, 4 * BATCH)
    check_all(signing, asked, await pool.sign(signing, asked))
    assert 2.0 <= time.monotonic() - begun < START_S
    assert not set(before) & set(pool.pids)
    for pid in before:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_processes_that_cannot_sign_at_all_are_transient(p256: House, pool: SigningPool) -> None:
    """A record of another responder ends each process that is asked to sign it: the walk tries again later."""
    signing, other = signing_of(p256), signing_of(p256)
    with pytest.raises(Transient, match="in a row"):
        await pool.sign(signing, unsigned(other, 2))
    asked = unsigned(signing, 2)
    check_all(signing, asked, await pool.sign(signing, asked))


async def test_a_rotated_pair_replaces_the_one_before(p256: House, pool: SigningPool) -> None:
    """The same issuer with a new responder: the processes sign by the new key."""
    for _ in range(3):
        signing = signing_of(p256)
        asked = unsigned(signing, 2 * BATCH)
        check_all(signing, asked, await pool.sign(signing, asked))


async def test_two_issuers_at_once(p256: House, pool: SigningPool) -> None:
    """Batches of two issuers share the processes and never a key."""
    one, two = signing_of(p256, 1), signing_of(p256, 2)
    asked = unsigned(one, 3 * BATCH), unsigned(two, 3 * BATCH)
    records = await asyncio.gather(pool.sign(one, asked[0]), pool.sign(two, asked[1]))
    check_all(one, asked[0], records[0])
    check_all(two, asked[1], records[1])


def test_signatures_of_another_key_are_refused(p256: House) -> None:
    """A signing process that answers with the wrong key's signatures gets none of its batch published."""
    signing, other = signing_of(p256), signing_of(p256)
    asked = unsigned(signing, 8)
    wrong = [
        other.pair.key.sign(signing.templates[hash_algorithm_of(record)].tbs(serial, record))
        for serial, record in asked
    ]
    with pytest.raises(Refused, match="does not verify"):
        sealed(signing, asked, wrong)
    with pytest.raises(Refused, match="too few"):
        sealed(signing, asked, wrong[:-1])
    with pytest.raises(Refused, match="too few"):
        sealed(signing, asked, [*wrong[:-1], b""])


async def test_keys_are_not_to_be_seen_from_outside(p256: House, pool: SigningPool) -> None:
    """Neither the words nor the environment of a signing process have more than its parent's number and ours."""
    signing = signing_of(p256)
    await pool.sign(signing, unsigned(signing, 1))
    for pid in pool.pids:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert words[1:4] == [b"-m", b"cachewarm.records.signing_process", str(os.getpid()).encode()]
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PRIVATE" not in environ
        assert b"FASTOCSP_" not in environ


_PARENT = """
import asyncio
from tests.cachewarm.conftest import House, NOW
from tests.cachewarm.records.test_signing_pool import *
from cachewarm.records.signing_pool import PoolSlot
async def main():
    slot = PoolSlot(5.0)
    await slot._process()
    print(slot.process.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_they_die_with_the_warmer() -> None:
    """SIGKILL to the process that started them ends them too."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_body_that_ends_within_a_run_is_refused() -> None:
    """Every prefix of a body but those between two runs."""
    runs = [b"", b"a", b"bcd" * 100]
    body = join_runs(runs)
    assert split_runs(body) == runs
    whole = {0, 4, 9, len(body)}
    for end in set(range(len(body))) - whole:
        with pytest.raises(ValueError, match="ends within"):
            split_runs(body[:end])
