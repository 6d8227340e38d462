"""Signatures by the thousand, over several processes (cachewarm/records/signing_process.py).

The warmer says what is stated and seals the signatures into the records that it stated itself; a signing process
returns signatures and nothing else. Of every batch one record, drawn by lot, is verified here before any of it is
handed on. A process that dies, or does not answer for `patience_s`, is replaced, and its batches are signed again by
another: nothing of them had been published. Processes start when they are first needed.
"""

import asyncio
import secrets
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Sequence

import structlog

from _fastocsp.ocsp.record import hash_algorithm_of, seal_record
from _fastocsp.ocsp.signing_runs import join_runs, split_runs
from cachewarm.errors import Refused, Transient
from cachewarm.keys.soft_key import SoftKey
from cachewarm.records import signing_frames, signing_process
from cachewarm.records.keyring import Signing
from cachewarm.records.mint import check
from responder.process import start_piped
from responder.tasks import end_tasks

log = structlog.get_logger("signing")
#: Signatures of one batch: some milliseconds of P-256, a third of a second of RSA-4096.
BATCH = 256
#: Batches that one process may have: one under way, one that waits in its pipe.
DEPTH = 2
ATTEMPTS = 3
PATIENCE_S = 10.0
#: More for the first answer of a process: an interpreter starts, on a host that may be busy.
START_S = 30.0
#: A serial number and the unsigned record that answers for it.
Unsigned = tuple[bytes, bytes]


class ProcessesLost(Transient):
    """Process after process was lost over one batch: perhaps the fault is in what they are to sign."""


class Lost(Exception):
    """The process ended before it answered."""


class SigningProcess:
    """One signing process, and the batches it has not answered yet."""

    def __init__(self, child: Process) -> None:
        if child.stdin is None or child.stdout is None:
            raise ValueError("a signing process has two pipes")
        self._child, self._asked, self._answers = child, child.stdin, child.stdout
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._told: dict[int, Signing] = {}
        self.answered = False
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Process number of the signing process."""
        return self._child.pid

    @property
    def ended(self) -> bool:
        """Nothing will be answered any more."""
        return self._reader.done()

    async def sign(self, signing: Signing, batch: Sequence[Unsigned]) -> list[bytes]:
        """The signatures of that batch, in order. Lost when the process ends first."""
        if self.ended:
            raise Lost
        number = signing.issuer.issuer_no
        if self._told.get(number) is not signing:
            self._asked.write(
                signing_frames.pack(signing_frames.Frame(signing_frames.PAIR, number, _handed_over(signing)))
            )
            self._told[number] = signing
        body = join_runs([run for each in batch for run in each])
        self._asked.write(signing_frames.pack(signing_frames.Frame(signing_frames.SIGN, number, body)))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        return split_runs(await answer)

    async def end(self) -> None:
        """Kill it: it has nothing to tidy up."""
        if self._child.returncode is None:
            self._child.kill()
        await end_tasks([self._reader])
        await self._child.wait()

    async def _read(self) -> None:
        try:
            while True:
                length, _, _ = signing_frames.HEAD.unpack(await self._answers.readexactly(signing_frames.HEAD.size))
                body = await self._answers.readexactly(length)
                self.answered = True
                answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(body)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            for answer in self._waiting:
                if not answer.done():
                    answer.set_exception(Lost())


class PoolSlot:
    """The place of one process of the pool, taken by one after the other."""

    def __init__(self, patience_s: float) -> None:
        self._patience = patience_s
        self._starting = asyncio.Lock()
        self.process: SigningProcess | None = None

    async def sign(self, signing: Signing, batch: Sequence[Unsigned]) -> list[bytes]:
        """The batch's signatures; Lost, and the slot is empty, when the process died or did not answer in time."""
        process = await self._process()
        try:
            async with asyncio.timeout(self._patience if process.answered else max(self._patience, START_S)):
                return await process.sign(signing, batch)
        except (Lost, TimeoutError) as error:
            why = "ended" if isinstance(error, Lost) else "does not answer"
            log.warning("signing process lost, its batch is signed again", pid=process.pid, why=why)
            if self.process is process:
                self.process = None
            await process.end()
            raise Lost from error

    async def end(self) -> None:
        """End the process of this slot."""
        process, self.process = self.process, None
        if process is not None:
            await process.end()

    async def _process(self) -> SigningProcess:
        async with self._starting:
            if self.process is None or self.process.ended:
                child = await start_piped("cachewarm.records.signing_process")
                self.process = SigningProcess(child)
            return self.process


class SigningPool:
    """A pool of that many processes; each starts when it is first needed."""

    def __init__(self, processes: int, patience_s: float = PATIENCE_S) -> None:
        self._all = [PoolSlot(patience_s) for _ in range(processes)]
        self._free: asyncio.Queue[PoolSlot] = asyncio.Queue()
        for slot in self._all * DEPTH:
            self._free.put_nowait(slot)

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [slot.process.pid for slot in self._all if slot.process is not None]

    def signs_for(self, signing: Signing) -> bool:
        """There are processes, and the key can be handed to them: one in an HSM cannot."""
        return bool(self._all) and isinstance(signing.pair.key, SoftKey)

    async def sign(self, signing: Signing, unsigned: Sequence[Unsigned]) -> list[bytes]:
        """The signed records, in order. Transient when processes keep dying, Refused when a record does not verify."""
        parts = [unsigned[at : at + BATCH] for at in range(0, len(unsigned), BATCH)]
        done = await asyncio.gather(*(self._batch(signing, part) for part in parts))
        return [record for records in done for record in records]

    async def end(self) -> None:
        """End every process of the pool."""
        for slot in self._all:
            await slot.end()

    async def _batch(self, signing: Signing, batch: Sequence[Unsigned]) -> list[bytes]:
        for _ in range(ATTEMPTS):
            slot = await self._free.get()
            try:
                return sealed(signing, batch, await slot.sign(signing, batch))
            except Lost:
                continue
            finally:
                self._free.put_nowait(slot)
        raise ProcessesLost(f"{ATTEMPTS} signing processes in a row were lost over one batch")


def sealed(signing: Signing, batch: Sequence[Unsigned], signatures: Sequence[bytes]) -> list[bytes]:
    """The batch's records with their signatures, one of them verified; Refused when they do not belong together."""
    if len(signatures) != len(batch) or not all(signatures):
        raise Refused("a signing process answered with too few signatures")
    records = [seal_record(record, signature) for (_, record), signature in zip(batch, signatures, strict=True)]
    drawn = secrets.randbelow(len(batch))
    template = signing.templates[hash_algorithm_of(records[drawn])]
    check(records[drawn], batch[drawn][0], template, signing.pair.certificate)
    return records


def _handed_over(signing: Signing) -> bytes:
    key = signing.pair.key
    if not isinstance(key, SoftKey):
        raise Refused("only a key in this process's memory can be handed to a signing process")
    return signing_process.body_of(key.to_pem(), signing.issuer, signing.pair.certificate)
